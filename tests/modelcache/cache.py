"""One ModelCache as tests ask for it: its claim and its Job, each in the state that a row needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.contracts.download import REPORT_ANNOTATION, DownloadReport, ReportedError, to_annotation
from app.kube.manifest import Manifest
from tests.calls import EARLIER, Answer, ask, stored

FINISHED = "2026-01-01T06:00:00Z"
JUST_NOW = "2026-01-01T11:59:50Z"


def spec(**parts: Any) -> dict[str, Any]:
    return {"modelName": "org/tiny", "size": "50Gi"} | parts


def call(given: Mapping[str, Any] | None = None, children: Sequence[Manifest] = (), **options: Any) -> Answer:
    """Where anything is there, the downloader's account is: it is made first and stays."""
    asked = given if given is not None else spec()
    there = [*children, *(stored(it) for it in ask("modelcache", asked, **options).children if _is_account(it))]
    return ask("modelcache", asked, children=there if children else (), **options)


def _is_account(child: Manifest) -> bool:
    return bool(child["kind"] == "ServiceAccount")


def claim(given: Mapping[str, Any] | None = None, phase: str = "Bound", created: str = EARLIER, **options: Any) -> Any:
    """The claim that a spec asks for, as the cluster shows it later."""
    found = stored(call(given, **options).child("PersistentVolumeClaim"), {"phase": phase})
    found["metadata"] |= {"creationTimestamp": created}
    return found


def job(given: Mapping[str, Any] | None = None, *, annotations: Mapping[str, str] | None = None, **options: Any) -> Any:
    """The Job that a spec asks for, just created; `annotations` are those of the ModelCache."""
    answer = call(given, children=[claim(given, **options)], annotations=annotations, **options)
    return stored(answer.child("Job"))


def reporting(found: Manifest, report: DownloadReport | str) -> Manifest:
    """A Job on which its downloader left a report."""
    said = {REPORT_ANNOTATION: report if isinstance(report, str) else to_annotation(report)}
    return found | {"metadata": found["metadata"] | {"annotations": found["metadata"]["annotations"] | said}}


def running(found: Manifest, percent: int | None = None) -> Manifest:
    """A Job whose pod runs, and says how far it is."""
    report = DownloadReport(bytes_done=percent or 0, bytes_total=100)
    return (found if percent is None else reporting(found, report)) | {"status": {"active": 1}}


def complete(found: Manifest, finished: str = FINISHED, report: DownloadReport | None = None) -> Manifest:
    """A Job that came to its end."""
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": finished}
    status = {"completionTime": finished, "conditions": [condition]}
    return (reporting(found, report) if report else found) | {"status": status}


def failed(
    found: Manifest,
    reason: str = "BackoffLimitExceeded",
    message: str = "Job has failed.",
    finished: str = JUST_NOW,
    error: ReportedError | None = None,
) -> Manifest:
    condition = {
        "type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": finished,
    }  # fmt: skip
    said = reporting(found, DownloadReport(error=error)) if error else found
    return said | {"status": {"conditions": [condition]}}


def access(given: Mapping[str, Any] | None = None, **options: Any) -> list[Manifest]:
    """ServiceAccount, Role and RoleBinding of a Job that is under way."""
    children = call(given, children=[claim(given, **options)], **options).children
    return [stored(it) for it in children if it["kind"] in ("ServiceAccount", "Role", "RoleBinding")]


def filled(given: Mapping[str, Any] | None = None, **options: Any) -> list[Manifest]:
    """Claim and Job of a cache whose model is there."""
    return [claim(given, **options), complete(job(given, **options))]
