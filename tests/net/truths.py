"""What must hold of every answer and of every write, told from the raw objects alone.

1. Answers fit their schemas, and statuses are true of what was observed.
2. No workload goes, and no pod template changes, unless the part of the spec that it depends on, or the replan
   annotation, did; or somebody else touched the workload.
3. No claim with a model goes while the spec asks for it.
4. No GPU is promised twice, and whole nodes are shared with nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import jsonschema
import orjson

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec
from app.api.v1alpha1.places import parse_places
from app.gpupool.observe import STALE_SECONDS
from app.hooks.kinds import HOOKS
from app.kube.conditions import parse_time
from app.kube.lenient import mapping_at, text_at, value_at
from app.kube.manifest import differences
from app.kube.names import HEARTBEAT_ANNOTATION, REPLAN_ANNOTATION
from tests.golden.schemas import custom_schemas, problems
from tests.net.machinery import GPU, Machinery, gpus_of
from tests.net.store import OURS, Store, copy_of
from tools.sandbox.api import Object
from tools.sandbox.standin import labels
from tools.sandbox.standin.informer import key_of

WORKLOADS = ("Deployment", "LeaderWorkerSet")
CACHE_KIND, REQUEST_KIND, ALLOCATION_KIND = f"ModelCache.{OURS}", f"GPURequest.{OURS}", f"GPUAllocation.{OURS}"


class Truths:
    """Hears every answer and sees every write."""

    def __init__(self, store: Store, machinery: Machinery) -> None:
        self._store, self._machinery = store, machinery
        self._parent: Object = {}
        self._decided: dict[str, Any] = {}
        """By uid of a workload: what of the spec its template was made from."""
        self.touched: set[str] = set()
        """Uids of children that somebody else has changed."""
        self.latest: dict[tuple[str, str], tuple[Object, Object]] = {}
        """The latest sync of each object, by kind and key: request and answer."""
        store.watchers.append(self.see)

    # Answers

    def hear(self, kind: str, request: Object, answer: Object) -> None:
        """One sync. What is written before the next one is done for this parent."""
        self._parent = request.get("parent") or request["object"]
        self.latest[kind, key_of(self._parent)] = request, copy_of(answer)
        for child in [*answer.get("children", []), *answer.get("attachments", [])]:
            found = _problems(orjson.dumps(child, option=orjson.OPT_SORT_KEYS))
            assert not found, f"{child['kind']} {key_of(child)} does not fit its schema: {found}"
        if kind in HOOKS:
            _check_status(HOOKS[kind].kind.name, answer["status"])
            CHECKS[kind](self, request, answer)

    # Writes

    def see(self, actor: str, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item
        if item["kind"] in WORKLOADS:
            self._see_workload(actor, before, after)
        elif item["kind"] == "PersistentVolumeClaim" and after is None and actor == "modelcache":
            self._see_claim_go(item)
        if item["kind"] in ("Pod", "Node", "GPUAllocation"):
            self._see_gpus(actor, before, after)

    def _see_workload(self, actor: str, before: Object | None, after: Object | None) -> None:
        if actor == "inferenceservice":
            self._see_our_workload(before, after)
        elif before and after and actor == "user" and _ours(before) != _ours(after):
            self.touched.add(before["metadata"]["uid"])

    def _see_our_workload(self, before: Object | None, after: Object | None) -> None:
        meant = _meant(self._parent)
        if after is None:
            assert before
            was = self._decided.get(before["metadata"]["uid"])
            kind_changed = _is_distributed(self._parent) != (before["kind"] == "LeaderWorkerSet")
            reason = kind_changed or before["metadata"]["uid"] in self.touched or was is None
            assert reason, f"{before['kind']} {key_of(before)} was deleted, and nobody asked for it"
            return
        uid = after["metadata"]["uid"]
        if before is None:
            self._decided[uid] = meant
            return
        if _template(before) != _template(after):
            was = self._decided.get(uid)
            touched = uid in self.touched or was is None
            assert touched or _is_reason(was, meant), (
                f"the pods of {key_of(after)} are restarted without a reason: {_template_diff(before, after)}"
            )
            self._decided[uid] = meant

    def _see_claim_go(self, claim: Object) -> None:
        spec = self._parent["spec"]
        kept = (
            spec.get("caching", {}).get("enabled", True) and not spec.get("existingClaim") and not spec.get("hostPath")
        )
        once = spec.get("accessMode") == "ReadWriteOnce"
        copies = spec.get("caching", {}).get("replicas", 1) if once else 1
        name = self._parent["metadata"]["name"]
        wanted = {f"{name}-cache", *(f"{name}-cache-{index}" for index in range(1, copies))}
        foreign = claim["metadata"]["uid"] in self.touched
        assert foreign or not (kept and claim["metadata"]["name"] in wanted), f"claim {key_of(claim)} was deleted"

    # GPUs

    def _see_gpus(self, actor: str, before: Object | None, after: Object | None) -> None:
        """What a pool promises is there, as far as a pool can know. A node that is overcommitted by anybody else (a
        kube-scheduler that knows no promises, a node that lost GPUs) is not a pool's doing until it is mended."""
        full = {node for node, claims in self.claims().items() if sum(claims.values()) > self._gpus(node)}
        if actor == "gpupool":
            promised = self._promises()
            for node in full - self._machinery.disturbed:
                total = sum(promised.get(node, Counter()).values())
                assert total <= self._gpus(node), f"{node} has {self._gpus(node)} GPUs, promised are {promised[node]}"
        self._machinery.disturbed &= full
        if actor == "gpupool":
            self._machinery.disturbed |= {node for node in full if self._is_blind(node)}
        else:
            self._machinery.disturbed |= full

    def _is_blind(self, node: str) -> bool:
        """Whether a pool cannot know what pods hold there: the agent is silent, or has not counted them yet."""
        beat = parse_time(text_at(self._parent, "metadata", "annotations", HEARTBEAT_ANNOTATION))
        silent = beat is None or (self._store.now - beat).total_seconds() >= STALE_SECONDS
        pods = (it for it in self._store.all("Pod") if it["spec"].get("nodeName") == node)
        used = value_at(self._store.find("GPUNode", node), "status", "used")
        return silent or used != sum(map(gpus_of, pods))

    def _gpus(self, node: str) -> int:
        found = self._store.find("Node", node)
        return int(found["status"]["allocatable"].get(GPU, "0")) if found else 1 << 20

    def _promises(self) -> dict[str, Counter[str]]:
        """GPUs by node and service that were granted for certain."""
        found: dict[str, Counter[str]] = {}
        for allocation in self._store.all("GPUAllocation"):
            for place in parse_places(GPUAllocationSpec.read(allocation["spec"]).gpus).values():
                if not place.proposed and place.node:
                    found.setdefault(place.node, Counter())[key_of(allocation)] += place.gpus
        return found

    def claims(self) -> dict[str, Counter[str]]:
        """GPUs by node and holder: what a service was promised there, or what its pods hold, whichever is more."""
        found, held = self._promises(), dict[str, Counter[str]]()
        for pod in self._store.all("Pod"):
            node, gpus = pod["spec"].get("nodeName"), gpus_of(pod)
            if node and gpus and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                held.setdefault(node, Counter())[_holder(pod)] += gpus
        for node, use in held.items():
            found[node] = found.get(node, Counter()) | use
        return found

    def check_gpus(self) -> None:
        """Once all is still: no node is promised to more than it holds, and nobody shares whole nodes."""
        for node, claims in self.claims().items():
            total = sum(claims.values())
            assert node in self._machinery.disturbed or total <= self._gpus(node), f"{node} is overcommitted: {claims}"
        promised = self._promises()
        exclusive = {key_of(it) for it in self._store.all("GPUAllocation") if it["spec"].get("exclusive")}
        for node, services in promised.items():
            alone = exclusive & services.keys()
            assert not alone or len(services) == 1, f"{node} was promised to {alone} alone, and to {services}"


def _holder(pod: Object) -> str:
    service = pod["metadata"].get("labels", {}).get("inference.ai/service")
    return (
        f"{pod['metadata']['namespace']}/{service}" if service and pod["metadata"].get("ownerReferences") else "others"
    )


# Restarts


def _meant(parent: Object) -> tuple[Any, str]:
    return meaning(parent["spec"]), parent["metadata"].get("annotations", {}).get(REPLAN_ANNOTATION, "")


def _is_reason(was: Any, now: tuple[Any, str]) -> bool:
    return bool(was[0] != now[0] or (now[1] and was[1] != now[1]))


def _is_distributed(parent: Object) -> bool:
    return value_at(parent, "spec", "distributed", "enabled") is True


def meaning(spec: Object) -> Any:
    """The part of a spec that pods depend on: less what says nothing, and in one spelling."""
    group, resources = dict(mapping_at(spec, "distributed")), dict(mapping_at(spec, "resources"))
    gpu = dict(mapping_at(resources, "gpu"))
    resources = {key: value for key, value in resources.items() if key not in ("pool", "priority", "gpu")}
    resources["totalGpus"] = resources.get("totalGpus") or gpu.pop("count", None)
    resources["sharing"] = resources.get("sharing") or gpu.pop("strategy", None)
    gpu = {key: value for key, value in gpu.items() if key not in ("count", "strategy")}
    size = group.get("size") or 1 + (group.get("workerReplicas") or 0)
    group = {key: value for key, value in group.items() if key not in ("size", "workerReplicas", "leaderReplicas")}
    group |= {"size": size if group.get("enabled") else mapping_at(spec, "distributed").get("size")}
    parts = {key: spec.get(key) for key in ("model", "vllm", "storage")}
    return _said(parts | {"resources": resources | {"gpu": gpu}, "distributed": group})


_USUAL: tuple[Any, ...] = (None, "", {}, [], False, "lws", "dynamic", "16Gi", 300)


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _said(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in _USUAL and (key, item) != ("readOnly", True)}
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _template(workload: Object) -> Any:
    return {key: value for key, value in workload["spec"].items() if key != "replicas"}


def _ours(workload: Object) -> Any:
    """What somebody else may have meddled with, status and number of groups apart."""
    metadata = workload["metadata"]
    marks = [metadata.get("labels"), metadata.get("annotations"), metadata.get("ownerReferences")]
    return _template(workload), marks


def _template_diff(before: Object, after: Object) -> str:
    return str(list(differences(_template(before), _template(after)))[:3])


# Schemas


@lru_cache(maxsize=4096)
def _problems(child: bytes) -> list[str]:
    return problems(orjson.loads(child))


@cache
def _validator(kind: str) -> Any:
    return jsonschema.Draft202012Validator(custom_schemas()[OURS, kind]["properties"]["status"])


def _check_status(kind: str, status: Object) -> None:
    found = _status_problems(kind, orjson.dumps(status))
    assert not found, f"the status of a {kind} does not fit its schema: {found}"


@lru_cache(maxsize=4096)
def _status_problems(kind: str, status: bytes) -> list[str]:
    return [error.message for error in _validator(kind).iter_errors(orjson.loads(status))]


# Statuses


def conditions(status: Object) -> dict[str, Object]:
    return {it["type"]: it for it in status.get("conditions", [])}


def is_true(status: Object, kind: str) -> bool:
    return bool(conditions(status).get(kind, {}).get("status") == "True")


def _is_held(status: Object, headline: str) -> bool:
    """The spec cannot be read, so the status stays as it was but for this condition."""
    return "is not accepted" in str(conditions(status).get(headline, {}).get("message"))


def _children(request: Object, kind: str) -> Mapping[str, Object]:
    return next((group for key, group in request["children"].items() if key.startswith(f"{kind}.")), {})


def _check_service(truths: Truths, request: Object, answer: Object) -> None:
    parent, status = request["parent"], answer["status"]
    place, name = parent["metadata"]["namespace"], parent["metadata"]["name"]
    found = {
        "Deployment": _children(request, "Deployment").get(f"{place}/{name}-leader"),
        "LeaderWorkerSet": _children(request, "LeaderWorkerSet").get(f"{place}/{name}"),
    }
    if _is_held(status, "Ready"):
        assert not is_true(status, "Ready")
        return
    wanted, other = WORKLOADS[::-1] if _is_distributed(parent) else WORKLOADS
    current = _visible(found[wanted]) or _visible(found[other])
    counted = (current or {}).get("status", {}).get("readyReplicas", 0)
    assert status["readyReplicas"] == counted, f"{status['readyReplicas']} groups are said to be ready, {counted} are"
    for kind in ("Ready", "ModelLoaded", "GPUAllocated", "ServiceReady", "Healthy"):
        assert counted or not is_true(status, kind), f"{kind} is True, and no group is ready"
    assert (status["phase"] == "Ready") == is_true(status, "Ready"), f"phase is {status['phase']}"
    assert counted or status["phase"] in ("Pending", "Starting", "Failed"), f"phase is {status['phase']}"
    assert not counted or status["phase"] in ("Ready", "Degraded"), f"phase is {status['phase']}"
    assert status["modelStatus"]["loaded"] == bool(counted)
    if is_true(status, "Healthy") and current:
        assert counted >= _asked(answer, current)


def _visible(workload: Object | None) -> Object | None:
    """None for a stranger: pods that reach beyond their containers are never ours."""
    pods = value_at(workload, "spec", "template", "spec", "hostNetwork")
    return None if pods else workload


def _asked(answer: Object, current: Object) -> int:
    sent = next((it for it in answer["children"] if it["kind"] == current["kind"]), current)
    return int(sent["spec"].get("replicas", current["spec"].get("replicas", 1)))


def _check_cache(truths: Truths, request: Object, answer: Object) -> None:
    parent, status = request["parent"], answer["status"]
    if _is_held(status, "Ready"):
        assert status["phase"] in ("Ready", "Failed")
        return
    if status["phase"] == "Ready":
        assert is_true(status, "Ready"), "phase is Ready, and the model cannot be read"
    assert (status["phase"] != "Ready") or is_true(status, "Downloaded")
    caching = parent["spec"].get("caching", {}).get("enabled", True)
    if not is_true(status, "Ready") or not caching:
        return
    place = _place(request, status)
    there = truths._machinery.contents.get(place, set())
    assert status["path"] in there, f"Ready is True, and {status['path']} is not on {place}: {sorted(there)}"
    for copy in status.get("copies", []):
        if copy["ready"] and copy.get("claimName"):
            uid = _claim_uid(request, copy["claimName"])
            assert copy["path"] in truths._machinery.contents.get(uid, set()), f"{copy} is said to be ready"


def _place(request: Object, status: Object) -> str:
    return str(status["hostPath"]) if status.get("hostPath") else _claim_uid(request, status["claimName"])


def _claim_uid(request: Object, name: str) -> str:
    key, kind = f"{request['parent']['metadata']['namespace']}/{name}", "PersistentVolumeClaim.v1"
    found = request["children"][kind].get(key) or request["related"].get(kind, {}).get(key)
    return str(found["metadata"]["uid"]) if found else ""


def _check_endpoint(truths: Truths, request: Object, answer: Object) -> None:
    status, parent = answer["status"], request["parent"]
    if _is_held(status, "Available") or not is_true(status, "Available"):
        return
    key = f"{parent['metadata']['namespace']}/{parent['spec']['service']}"
    target = request["related"].get(f"InferenceService.{OURS}", {}).get(key, {})
    assert target.get("status", {}).get("readyReplicas"), "Available is True, and no group is ready"
    own = f"{parent['metadata']['namespace']}/{parent['metadata']['name']}-endpoint"
    assert own in request["children"]["Service.v1"], "Available is True, and there is no Service"


def _check_pool(truths: Truths, request: Object, answer: Object) -> None:
    status, name = answer["status"], request["parent"]["metadata"]["name"]
    if _is_held(status, "Ready"):
        return
    nodes = list(_pool_nodes(request))
    offers = [it for node in nodes for it in node["spec"].get("resources", [])]
    hosts, gpus = sum(bool(it["spec"].get("resources")) for it in nodes), sum(it["gpus"] for it in offers)
    assert status["nodes"] == hosts, f"{status['nodes']} nodes are said to be there, {hosts} are"
    assert status["gpus"] == gpus, f"{status['gpus']} GPUs are said to be there, {gpus} are"
    assert 0 <= status["free"] <= gpus, f"{status['free']} of {gpus} GPUs are said to be free"
    for field in ("gpus", "free"):
        assert status[field] == sum(it[field] for it in status.get("products", [])), f"{field} of products"
    requests = request["related"].get(REQUEST_KIND, {})
    ours = {key: it for key, it in requests.items() if it["spec"].get("pool") == name}
    sent = {key_of(it): it for it in answer["children"]}
    assert sent.keys() <= ours.keys(), f"there are answers to nobody: {sent.keys() - ours.keys()}"
    standing = [it for key, it in sent.items() if it["spec"]["digest"] == ours[key]["spec"]["digest"]]
    granted = sum(
        place.gpus for it in standing for place in parse_places(GPUAllocationSpec.read(it["spec"]).gpus).values()
    )
    assert status["allocated"] == granted, f"{status['allocated']} GPUs are said to be allocated, {granted} are"
    in_line = sum(
        bool(it["spec"].get("placeInLine") or it["spec"].get("next", {}).get("placeInLine")) for it in sent.values()
    )
    assert status["pending"] == in_line, f"{status['pending']} services are said to wait, {in_line} do"
    for key in request["children"][ALLOCATION_KIND]:
        assert key in sent or key not in ours, f"the allocation of {key} is dropped"


def _pool_nodes(request: Object) -> Iterator[Object]:
    """What the selector matches, less what that of an older pool does."""
    parent = request["parent"]
    others = [it for it in request["related"].get(f"GPUPool.{OURS}", {}).values() if _age(it) < _age(parent)]
    for node in request["related"].get(f"GPUNode.{OURS}", {}).values():
        there = node["spec"].get("labels", {})
        if _takes(parent, there) and not any(_takes(it, there) for it in others):
            yield node


def _age(pool: Object) -> tuple[str, str]:
    return pool["metadata"]["creationTimestamp"], pool["metadata"]["uid"]


def _takes(pool: Object, there: Mapping[str, str]) -> bool:
    return labels.matches(pool.get("spec", {}).get("nodeSelector") or {}, there)


CHECKS = {
    "inferenceservice": _check_service,
    "modelcache": _check_cache,
    "inferenceendpoint": _check_endpoint,
    "gpupool": _check_pool,
}
