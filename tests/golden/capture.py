"""`python -m tests.golden.capture [SCENARIO ...]`: record golden requests anew, from the real Metacontroller and LWS.

Run it when the requests themselves have changed (another child kind, another field that the API server defaults), then
`pytest tests/golden --bless`, and review both diffs. Needs METACONTROLLER, LWS_MANAGER and LWS_CONFIG. The scenarios
are played one after the other; of all requests about an object, each case is the first that is as its predicate says.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.world import API, LWS, World, example, service
from tests.golden.replay import FOLDER
from tools.sandbox.cluster import Cluster, has_condition, wait_until
from tools.sandbox.operator import Operator

Request = dict[str, Any]
Predicate = Callable[[Request], bool]
NAMESPACE = "inference-system"
GROUP_KIND = f"LeaderWorkerSet.{LWS}"
CACHE_KIND = f"ModelCache.{API}"
REQUEST_KIND = f"GPURequest.{API}"
ALLOCATION_KIND = f"GPUAllocation.{API}"
NODE_KIND = f"GPUNode.{API}"
SERVICE_KIND = f"InferenceService.{API}"
PATIENCE_SECONDS = 60


class Recorder:
    """The requests of one run, by kind and object."""

    def __init__(self, folder: Path, world: World) -> None:
        self._folder, self.world = folder, world

    def keep(self, kind: str, name: str, scenario: str, case: str, predicate: Predicate) -> None:
        """Wait for the first request that is so, and make it the case's."""
        target = FOLDER / kind / scenario / f"{case}.request.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = next((it for it in self._requests(kind, name) if predicate(it)), None)
            if found is not None:
                target.write_text(json.dumps(less_managed_fields(found), indent=1, sort_keys=True) + "\n")
                print(f"{kind}/{scenario}/{case}", flush=True)
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no request about {kind} {name} is as {case} wants it")
            time.sleep(0.2)

    def _requests(self, kind: str, name: str) -> Iterator[Request]:
        folder = name if kind == "gpupool" else f"{self.world.namespace}.{name}"
        for path in sorted((self._folder / kind / folder).glob("*.json")):
            try:
                yield json.loads(path.read_text())
            except json.JSONDecodeError:
                continue  # being written


def main() -> int:
    missing = [name for name in ("METACONTROLLER", "LWS_MANAGER", "LWS_CONFIG") if not os.environ.get(name)]
    if missing:
        print(f"set {', '.join(missing)}: golden requests come from the real programs", file=sys.stderr)
        return 2
    for scenario in (samples, second_spelling, refused_by_quota, failed_download, pool, limits, unknown_pool):
        if scenario.__name__ in (sys.argv[1:] or [scenario.__name__]):
            with fresh() as recorder:
                scenario(recorder)
    return 0


@contextmanager
def fresh() -> Iterator[Recorder]:
    """A cluster of its own for each scenario, so that numbers and times start anew."""
    with tempfile.TemporaryDirectory() as folder:
        directory, record = Path(folder) / "cluster", Path(folder) / "requests"
        with (
            Cluster.start(directory) as cluster,
            Operator.start(cluster, record=record, resync_seconds=5) as operator,
        ):
            world = World(operator, NAMESPACE)
            world.create_namespace(NAMESPACE)
            yield Recorder(record, world)


def samples(recorder: Recorder) -> None:
    """The specification's samples: waiting, starting, serving, scaled, edited, broken, deleted."""
    name, world = "llama2-7b-service", recorder.world

    def keep(case: str, predicate: Predicate) -> None:
        recorder.keep("inferenceservice", name, name, case, predicate)

    world.apply(example(name))
    keep("01-created", lambda it: not it["parent"].get("status"))
    keep("02-cache-missing", lambda it: reason(it) == "ModelNotFound")
    world.apply(example("llama2-endpoint"))
    world.apply(example("llama2-cache"))
    world.wait_ready(name)
    keep("03-cache-pending", lambda it: bool(related(it, CACHE_KIND)) and not cache_ready(it))
    keep("04-cache-ready", lambda it: cache_ready(it) and not it["children"][REQUEST_KIND])
    keep("05-granted", lambda it: decided(it) == "Bound" and not it["children"][GROUP_KIND])
    keep("06-starting", lambda it: bool(it["children"][GROUP_KIND]) and not ready_groups(it))
    keep("07-ready", lambda it: ready_groups(it) == 1 and phase(it) == "Ready")
    keep_cache_and_endpoint(recorder)
    world.settled()
    world.cluster.patch(LWS, "LeaderWorkerSet", name, NAMESPACE, {"spec": {"replicas": 3}})
    keep("08-autoscaled", lambda it: ready_groups(it) == 3)
    world.patch(name, {"spec": {"vllm": {"engineArgs": {"max_num_seqs": 64}}}})
    keep("09-edited", lambda it: engine(it).get("max_num_seqs") == 64)
    world.settled()
    recorder.keep("inferenceservice", name, "settings-changed", "01-while-serving", lambda it: settled_edit(it))
    world.patch(name, {"spec": {"vllm": {"engineArgs": {"max_num_seqs": "many"}}}})
    keep("10-broken-while-serving", lambda it: engine(it).get("max_num_seqs") == "many")
    world.cluster.delete(API, "InferenceService", name, NAMESPACE, propagation="Foreground")
    keep("11-being-deleted", lambda it: "deletionTimestamp" in it["parent"]["metadata"])
    recorder.keep(
        "inferenceendpoint", "llama2-endpoint", "llama2-endpoint", "04-service-gone",
        lambda it: bool(it["parent"].get("status")) and not related(it, SERVICE_KIND),
    )  # fmt: skip


def keep_cache_and_endpoint(recorder: Recorder) -> None:
    def cache(case: str, predicate: Predicate) -> None:
        recorder.keep("modelcache", "llama2-cache", "llama2-cache", case, predicate)

    cache("01-created", lambda it: not it["parent"].get("status"))
    cache("02-claim-pending", lambda it: bool(it["children"]["PersistentVolumeClaim.v1"]) and not jobs(it))
    cache("03-downloading", lambda it: any(job.get("status", {}).get("active") for job in jobs(it)))
    cache("04-ready", lambda it: phase(it) == "Ready")

    def endpoint(case: str, predicate: Predicate) -> None:
        recorder.keep("inferenceendpoint", "llama2-endpoint", "llama2-endpoint", case, predicate)

    endpoint("01-created", lambda it: not it["parent"].get("status"))
    endpoint("02-service-not-ready", lambda it: bool(it["children"]["Service.v1"]) and not target_ready(it))
    endpoint("03-available", target_ready)


def second_spelling(recorder: Recorder) -> None:
    for name in ("basic-test", "distributed-test"):
        recorder.world.apply(example(f"second-spelling/{name}"))
        recorder.world.wait_ready(name)
        recorder.keep("inferenceservice", name, name, "01-created", lambda it: not it["parent"].get("status"))
        recorder.keep("inferenceservice", name, name, "02-cache-pending", lambda it: phase(it) == "Pending")
        recorder.keep("inferenceservice", name, name, "03-ready", lambda it: phase(it) == "Ready")


def refused_by_quota(recorder: Recorder) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    recorder.world.apply(quota)
    recorder.world.apply(service())
    recorder.keep("inferenceservice", "demo", "failing", "01-quota", pods_refused)


def failed_download(recorder: Recorder) -> None:
    """A Job whose deadline is over; KWOK's pods never fail by themselves."""
    world = recorder.world
    cache = {"apiVersion": API, "kind": "ModelCache", "metadata": {"name": "demo"}, "spec": {"modelName": "org/tiny"}}
    world.apply(cache)
    wait_until(lambda: bool(world.names("batch/v1", "Job")), "the Job is there")
    [name] = world.names("batch/v1", "Job")
    world.cluster.patch("batch/v1", "Job", name, NAMESPACE, {"spec": {"activeDeadlineSeconds": 1}})
    recorder.keep("modelcache", "demo", "failing", "01-deadline", lambda it: any(has_failed(job) for job in jobs(it)))


def pool(recorder: Recorder) -> None:
    """Four nodes of eight GPUs: of five services of eight one waits; one can never be served; one is deleted."""
    world = recorder.world

    def keep(case: str, predicate: Predicate) -> None:
        recorder.keep("gpupool", "default", "default", case, predicate)

    keep("01-created", lambda it: not related(it, REQUEST_KIND) and len(related(it, NODE_KIND)) == 4)
    for number in range(5):
        world.apply(service(f"eight-{number}", resources={"totalGpus": 8}))
    keep("02-first-look", lambda it: bool(related(it, REQUEST_KIND)) and not it["children"][ALLOCATION_KIND])
    keep("03-second-look", lambda it: "Proposed" in phases(it))
    keep("04-one-waits", lambda it: sorted(phases(it)) == ["Bound"] * 4 + ["Pending"] and running(it) == 4)
    recorder.keep("inferenceservice", "eight-4", "waiting", "01-for-gpus", lambda it: decided(it) == "Pending")
    world.apply(service("sixteen", resources={"totalGpus": 16}))
    keep("05-one-is-impossible", lambda it: "Impossible" in phases(it))
    world.cluster.delete(API, "InferenceService", "eight-0", NAMESPACE)
    keep("06-next-in-line", lambda it: phases(it).count("Bound") == 4 and len(phases(it)) == 5 and running(it) == 4)


def limits(recorder: Recorder) -> None:
    """A namespace that may hold half of the pool, and whose priority counts no more than others'."""
    world = recorder.world
    mine = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    spec = {"limits": [{"maxPriority": 10}, {"namespaceSelector": mine, "gpus": 16, "maxPriority": 0}]}
    world.cluster.patch(API, "GPUPool", "default", None, {"spec": spec})
    wait_until(lambda: bool((world.cluster.get(API, "GPUPool", "default") or {})["spec"].get("limits")), "limits")
    for number in range(3):
        world.apply(service(f"eight-{number}", resources={"totalGpus": 8, "priority": 1000}))
    recorder.keep(
        "gpupool", "default", "limits", "01-one-is-limited",
        lambda it: sorted(phases(it)) == ["Bound", "Bound", "Pending"] and running(it) == 2,
    )  # fmt: skip
    recorder.keep("inferenceservice", "eight-2", "limited", "01-by-its-namespace", lambda it: decided(it) == "Pending")


def unknown_pool(recorder: Recorder) -> None:
    """A service that names a pool that nobody made."""
    recorder.world.apply(service("elsewhere", resources={"totalGpus": 8, "pool": "no-such-pool"}))
    recorder.keep(
        "inferenceservice", "elsewhere", "unknown-pool", "01-blocked",
        lambda it: any(said(child, "poolExists") is False for child in it["children"][REQUEST_KIND].values()),
    )  # fmt: skip


def said(child: Any, field: str) -> Any:
    return child.get("status", {}).get(field)


def phases(request: Request) -> list[str]:
    return [str(it["spec"]["phase"]) for it in request["children"][ALLOCATION_KIND].values()]


def running(request: Request) -> int:
    return sum(len(it.get("status", {}).get("pods", [])) for it in related(request, REQUEST_KIND))


def decided(request: Request) -> str:
    return next((str(it["spec"]["phase"]) for it in related(request, ALLOCATION_KIND)), "")


def less_managed_fields(value: Any) -> Any:
    """The bulk of most requests, which nothing reads."""
    if isinstance(value, dict):
        return {key: less_managed_fields(item) for key, item in value.items() if key != "managedFields"}
    return [less_managed_fields(item) for item in value] if isinstance(value, list) else value


def reason(request: Request) -> str:
    conditions = (request["parent"].get("status") or {}).get("conditions") or []
    return next((str(it["reason"]) for it in conditions if it["type"] == "Ready"), "")


def phase(request: Request) -> str:
    return str((request["parent"].get("status") or {}).get("phase"))


def engine(request: Request) -> dict[str, Any]:
    return dict(request["parent"]["spec"].get("vllm", {}).get("engineArgs", {}))


def related(request: Request, kind: str) -> list[Any]:
    return list(request["related"].get(kind, {}).values())


def cache_ready(request: Request) -> bool:
    return any(has_condition(it, "Ready") for it in related(request, CACHE_KIND) if "status" in it)


def ready_groups(request: Request) -> int:
    return sum(it.get("status", {}).get("readyReplicas", 0) for it in request["children"][GROUP_KIND].values())


def settled_edit(request: Request) -> bool:
    return engine(request).get("max_num_seqs") == 64 and ready_groups(request) == 3 and phase(request) == "Ready"


def target_ready(request: Request) -> bool:
    return any(it.get("status", {}).get("readyReplicas") for it in related(request, SERVICE_KIND))


def pods_refused(request: Request) -> bool:
    deployments = request["children"]["Deployment.apps/v1"].values()
    return any(has_condition(it, "ReplicaFailure") for it in deployments)


def jobs(request: Request) -> list[Any]:
    return list(request["children"]["Job.batch/v1"].values())


def has_failed(job: Any) -> bool:
    return has_condition(job, "Failed")


if __name__ == "__main__":
    sys.exit(main())
