"""One ModelCache as tests ask for it: its claim and its Job, each in the state that a row needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kube.manifest import Manifest
from tests.calls import EARLIER, Answer, ask, stored

FINISHED = "2026-01-01T06:00:00Z"


def spec(**parts: Any) -> dict[str, Any]:
    return {"modelName": "org/tiny", "size": "50Gi"} | parts


def call(given: Mapping[str, Any] | None = None, **options: Any) -> Answer:
    return ask("modelcache", given if given is not None else spec(), **options)


def claim(given: Mapping[str, Any] | None = None, phase: str = "Bound", created: str = EARLIER, **options: Any) -> Any:
    """The claim that a spec asks for, as the cluster shows it later."""
    found = stored(call(given, **options).child("PersistentVolumeClaim"), {"phase": phase})
    found["metadata"] |= {"creationTimestamp": created}
    return found


def job(given: Mapping[str, Any] | None = None, *, annotations: Mapping[str, str] | None = None, **options: Any) -> Any:
    """The Job that a spec asks for, just created; `annotations` are those of the ModelCache."""
    answer = call(given, children=[claim(given, **options)], annotations=annotations, **options)
    return stored(answer.child("Job"))


def running(found: Manifest, progress: str = "") -> Manifest:
    """A Job whose pod runs, and says how far it is."""
    said = {"inference.ai/download-progress": progress} if progress else {}
    metadata = found["metadata"] | {"annotations": found["metadata"]["annotations"] | said}
    return found | {"metadata": metadata, "status": {"active": 1}}


def complete(found: Manifest, finished: str = FINISHED, size: str = "") -> Manifest:
    """A Job that came to its end."""
    said = {"inference.ai/size-on-disk": size} if size else {}
    metadata = found["metadata"] | {"annotations": found["metadata"]["annotations"] | said}
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": finished}
    return found | {"metadata": metadata, "status": {"completionTime": finished, "conditions": [condition]}}


def failed(found: Manifest, reason: str = "BackoffLimitExceeded", message: str = "Job has failed.") -> Manifest:
    condition = {
        "type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": FINISHED,
    }  # fmt: skip
    return found | {"status": {"conditions": [condition]}}


def filled(given: Mapping[str, Any] | None = None, **options: Any) -> list[Manifest]:
    """Claim and Job of a cache whose model is there."""
    return [claim(given, **options), complete(job(given, **options))]
