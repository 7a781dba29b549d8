"""One InferenceService as tests ask for it: a small spec, the children it gets, and pods that are ready or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.kube.manifest import Manifest
from tests.calls import Answer, ask, manifest, stored

API = "inference.ai/v1alpha1"
WORKLOADS = ("Deployment", "LeaderWorkerSet")

DISTRIBUTED: dict[str, Any] = {"resources": {"totalGpus": 4}, "distributed": {"enabled": True, "size": 2}}
AUTOSCALED: dict[str, Any] = {
    "resources": {"totalGpus": 1, "cpuRequest": "1"},
    "autoscaling": {"enabled": True, "maxReplicas": 4},
}


def spec(**parts: Any) -> dict[str, Any]:
    """One GPU of one node, weights fetched by vLLM itself, unless `parts` say otherwise."""
    return {"model": {"name": "org/tiny"}, "resources": {"totalGpus": 1}} | parts


def call(given: Mapping[str, Any] | None = None, **options: Any) -> Answer:
    return ask("inferenceservice", given if given is not None else spec(), **options)


def workload(answer: Answer) -> Manifest:
    [found] = [child for child in answer.children if child["kind"] in WORKLOADS]
    return found


def pod(answer: Answer, template: str = "leaderTemplate") -> dict[str, Any]:
    """The pod spec of a Deployment, or of one template of a LeaderWorkerSet."""
    of = workload(answer)["spec"]
    found: dict[str, Any] = (of["template"] if "template" in of else of["leaderWorkerTemplate"][template])["spec"]
    return found


def container(answer: Answer, template: str = "leaderTemplate") -> dict[str, Any]:
    [found] = pod(answer, template)["containers"]
    return dict(found)


def environment(answer: Answer, template: str = "leaderTemplate") -> dict[str, str]:
    """Variables with a plain value."""
    return {it["name"]: it["value"] for it in container(answer, template)["env"] if "value" in it}


def observed(
    answer: Answer, ready: int = 1, conditions: Iterable[Mapping[str, Any]] = (), replicas: int | None = None
) -> list[Manifest]:
    """The children of an answer as the cluster shows them later; `replicas` is what somebody scaled the groups to."""
    return [_later(child, ready, list(conditions), replicas) for child in answer.children]


def _later(child: Manifest, ready: int, conditions: list[Mapping[str, Any]], replicas: int | None) -> Manifest:
    if child["kind"] not in WORKLOADS:
        return stored(child)
    count = replicas if replicas is not None else child["spec"].get("replicas", 1)
    return stored(child, {"replicas": count, "readyReplicas": ready, "conditions": conditions}, replicas=count)


def cache(name: str = "weights", ready: bool = True, **status: Any) -> Manifest:
    """A ModelCache with a model at weights-1 on its claim."""
    condition = {"type": "Ready", "status": "True" if ready else "False", "message": "as it is"}
    base = {"phase": "Ready" if ready else "Downloading", "path": "weights-1", "claimName": f"{name}-cache"}
    return manifest(API, "ModelCache", name, status=base | {"conditions": [condition]} | status)


def running(given: Mapping[str, Any] | None = None, **options: Any) -> list[Manifest]:
    """The children of a service whose groups are all ready."""
    first = call(given, **options)
    return observed(first, ready=int(workload(first)["spec"].get("replicas", 1)))
