"""What else runs in a cluster, as simple rules: garbage collection, workloads, Jobs, claims, the scheduler, kubelets.

Each look takes one step, so that every state on the way is seen by somebody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.agent.pod_requests import parse_pod_requests
from app.contracts.download import (
    COPY_FROM,
    PATH,
    POLICY,
    REPORT_ANNOTATION,
    DownloadReport,
    ReportedError,
    to_annotation,
)
from app.kube.conditions import format_time, parse_time
from app.kube.names import digest
from tests.net.store import BY_KIND, Store
from tools.sandbox.api import ApiError, Object
from tools.sandbox.standin import labels
from tools.sandbox.standin.informer import key_of

GPU = "amd.com/gpu"
HASH = "pod-template-hash"
GROUP = "leaderworkerset.sigs.k8s.io/group-index"
WORKER = "leaderworkerset.sigs.k8s.io/worker-index"
REVISION = "leaderworkerset.sigs.k8s.io/template-revision-hash"
DOWNLOADER = "downloader"
EVICTION = timedelta(seconds=300)


@dataclass
class Weather:
    """How the cluster treats those who live in it."""

    jobs: str = "done"
    """held, running, done or failed: how Jobs go."""
    error: str = "External"
    """Class of the error that a failed download reports; "" = it says nothing."""
    moved: bool = False
    """Whether the content of sources has changed, so that a download goes to a folder of its own."""
    volumes: bool = True
    """Whether claims are bound."""
    balancer: bool = True
    """Whether load balancers give addresses."""
    quota: bool = False
    """Whether no more pods may be made."""
    failing: set[str] = field(default_factory=set)
    """Services (namespace/name) whose pods crash."""
    overdue: bool = False
    """Whether Deployments that do not get on say so."""


class Machinery:
    """The rest of a cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.weather = Weather()
        self.contents: dict[str, set[str]] = {}
        """Finished folders by the uid of the claim, or by the nodes' folder, that holds them."""
        self.disturbed: set[str] = set()
        """Nodes on which somebody else's decision took GPUs that were promised; see tests.net.truths."""

    def look(self) -> None:
        """One step of everything."""
        for step in (
            self.collect_garbage, self.evict, self.run_deployments, self.run_groups, self.run_claims, self.run_jobs,
            self.schedule, self.run_pods, self.balance,
        ):  # fmt: skip
            self._store.actor = step.__name__
            step()
        self._store.actor = "user"

    def collect_garbage(self) -> None:
        """Background deletion: whoever's owners are all gone goes."""
        there = self._store.uids()
        for item in self._store.everything():
            owners = item["metadata"].get("ownerReferences") or []
            if owners and not any(str(it["uid"]).partition("/")[0] in there for it in owners):
                self._delete(item)

    def _delete(self, item: Object) -> None:
        self._store.delete(BY_KIND[item["kind"]], item["metadata"]["name"], item["metadata"].get("namespace"))

    # Workloads

    def run_deployments(self) -> None:
        for item in self._store.all("Deployment"):
            if not item["metadata"].get("deletionTimestamp"):
                self._run_deployment(item)

    def _run_deployment(self, item: Object) -> None:
        revision = digest(item["spec"]["template"])[:10]
        pods = self._pods_of(item)
        staying = [it for it in pods if "deletionTimestamp" not in it["metadata"]]
        new = [it for it in staying if it["metadata"]["labels"].get(HASH) == revision]
        old = [it for it in staying if it not in new]
        wanted, refused = item["spec"]["replicas"], False
        for pod in old[:1] + sorted(new, key=_is_ready)[: max(0, len(new) + len(old) - wanted)]:
            self._delete(pod)
        for _ in range(max(0, wanted - len(staying))):
            refused = not self._make_pod(item, self._next_name(item, revision), item["spec"]["template"], revision, {})
        pods = [it for it in self._pods_of(item) if "deletionTimestamp" not in it["metadata"]]
        updated = sum(it["metadata"]["labels"].get(HASH) == revision for it in pods)
        ready = sum(map(_is_ready, pods))
        conditions = self._failures(item, refused, ready < wanted)
        self._set_status(item, {"replicas": len(pods), "updatedReplicas": updated, "readyReplicas": ready}, conditions)

    def _failures(self, item: Object, refused: bool, lacks: bool) -> list[Object]:
        found = []
        if refused:
            message = 'pods "x" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0'
            found.append(_condition("ReplicaFailure", "True", "FailedCreate", message))
        if lacks and self.weather.overdue:
            name = item["metadata"]["name"]
            message = f'ReplicaSet "{name}-x" has timed out progressing.'
            found.append(_condition("Progressing", "False", "ProgressDeadlineExceeded", message))
        return found

    def _next_name(self, item: Object, revision: str) -> str:
        names = {it["metadata"]["name"] for it in self._store.all("Pod")}
        name = f"{item['metadata']['name']}-{revision}"
        return next(it for number in range(1000) if (it := f"{name}-{number:03}") not in names)

    def run_groups(self) -> None:
        for item in self._store.all("LeaderWorkerSet"):
            if not item["metadata"].get("deletionTimestamp"):
                self._run_group(item)

    def _run_group(self, item: Object) -> None:
        """Groups are remade from the last to the first, one at a time, and whole."""
        template = item["spec"]["leaderWorkerTemplate"]
        revision, size, wanted = digest(template)[:10], template["size"], item["spec"]["replicas"]
        groups: dict[int, list[Object]] = {}
        for pod in self._pods_of(item):
            groups.setdefault(int(pod["metadata"]["labels"][GROUP]), []).append(pod)
        old = [it for it, pods in sorted(groups.items()) if any(_revision(pod) != revision for pod in pods)]
        leaving = any("deletionTimestamp" in pod["metadata"] for pods in groups.values() for pod in pods)
        for number in [it for it in groups if it >= wanted] + ([] if leaving else old[-1:]):
            for pod in groups[number]:
                self._delete(pod)
        for number in range(wanted):
            pods = groups.get(number, [])
            if any("deletionTimestamp" in pod["metadata"] or _revision(pod) != revision for pod in pods):
                continue
            there = {pod["metadata"]["labels"][WORKER] for pod in pods}
            for worker in (it for it in range(size) if str(it) not in there):
                name = f"{item['metadata']['name']}-{number}" + (f"-{worker}" if worker else "")
                marks = {GROUP: str(number), WORKER: str(worker), REVISION: revision}
                self._make_pod(item, name, template["workerTemplate" if worker else "leaderTemplate"], revision, marks)
        self._set_group_status(item, revision, size)

    def _set_group_status(self, item: Object, revision: str, size: int) -> None:
        groups: dict[str, list[Object]] = {}
        for pod in self._pods_of(item):
            if "deletionTimestamp" not in pod["metadata"]:
                groups.setdefault(pod["metadata"]["labels"][GROUP], []).append(pod)
        ready = sum(len(pods) == size and all(map(_is_ready, pods)) for pods in groups.values())
        updated = sum(all(_revision(pod) == revision for pod in pods) for pods in groups.values())
        self._set_status(item, {"replicas": len(groups), "updatedReplicas": updated, "readyReplicas": ready}, [])

    def _set_status(self, item: Object, counts: Mapping[str, int], conditions: list[Object]) -> None:
        """Numbers that are 0 are left out, as the API does."""
        live = self._store.find(item["kind"], key_of(item))
        if live is None:
            return
        status: Object = {"observedGeneration": live["metadata"]["generation"]}
        status |= {key: value for key, value in counts.items() if value}
        before = {it["type"]: it for it in live.get("status", {}).get("conditions", [])}
        kept = [it | {"lastTransitionTime": format_time(self._store.now)} for it in conditions]
        kept = [before[it["type"]] if before.get(it["type"], {}).get("message") == it["message"] else it for it in kept]
        self._store.put(live | {"status": status | ({"conditions": kept} if kept else {})})

    def _pods_of(self, item: Object) -> list[Object]:
        uid = item["metadata"]["uid"]
        return [it for it in self._store.all("Pod") if _owner(it).partition("/")[0] == uid]

    def _make_pod(self, item: Object, name: str, template: Object, revision: str, marks: Mapping[str, str]) -> bool:
        """Whether it may be made."""
        if self.weather.quota or self._store.find("Pod", f"{item['metadata']['namespace']}/{name}"):
            return False
        grouped = item["kind"] == "LeaderWorkerSet"
        group, service = marks.get(GROUP, ""), item["metadata"]["name"]
        maker = f"{service}-{revision}" if not grouped else service if marks[WORKER] == "0" else f"{service}-{group}"
        owner = {
            "apiVersion": "apps/v1", "kind": "StatefulSet" if grouped else "ReplicaSet", "name": maker,
            "uid": f"{item['metadata']['uid']}/{maker}", "controller": True,
        }  # fmt: skip
        own = dict(marks) if grouped else {HASH: revision}
        metadata = {
            "name": name, "namespace": item["metadata"]["namespace"], "ownerReferences": [owner],
            "labels": template["metadata"].get("labels", {}) | own,
        }  # fmt: skip
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        self._store.create(BY_KIND["Pod"], pod | {"status": {"phase": "Pending"}})
        return True

    # Claims and Jobs

    def run_claims(self) -> None:
        for item in self._store.all("PersistentVolumeClaim"):
            status = item.get("status", {"phase": "Pending"})
            if status["phase"] == "Lost":
                continue
            if self.weather.volumes or status["phase"] == "Bound":
                size = item["spec"]["resources"]["requests"]["storage"]
                status = {"phase": "Bound", "capacity": {"storage": size}, "accessModes": item["spec"]["accessModes"]}
            self._store.change(item, status=status)

    def run_jobs(self) -> None:
        for item in self._store.all("Job"):
            if not item.get("status", {}).get("conditions"):
                self._run_job(item)

    def _run_job(self, item: Object) -> None:
        place = self._volume_of(item)
        if self.weather.jobs == "held" or place is None:
            self._store.change(item, status={"active": 1, "ready": 0})
        elif self.weather.jobs == "running":
            self._report(item, DownloadReport(bytes_done=30, bytes_total=100))
            self._store.change(item, status={"active": 1, "ready": 1})
        elif self.weather.jobs == "failed":
            self._fail(item, self.weather.error)
        elif not place:
            self._complete(item)
        else:
            self._download(item, place)

    def _volume_of(self, item: Object) -> str | None:
        """What the Job fills, "" for nothing, None while that is not there."""
        for volume in item["spec"]["template"]["spec"].get("volumes", []):
            if volume["name"] == "cache":
                if "hostPath" in volume:
                    return str(volume["hostPath"]["path"])
                name = volume["persistentVolumeClaim"]["claimName"]
                claim = self._store.find("PersistentVolumeClaim", f"{item['metadata']['namespace']}/{name}")
                bound = claim and claim.get("status", {}).get("phase") == "Bound"
                return str(claim["metadata"]["uid"]) if claim and bound else None
        return ""

    def _download(self, item: Object, place: str) -> None:
        [container] = item["spec"]["template"]["spec"]["containers"]
        told = {it["name"]: it.get("value", "") for it in container["env"]}
        there = self.contents.setdefault(place, set())
        path = told[PATH] + ("@2" if self.weather.moved and told[POLICY] == "Always" else "")
        if COPY_FROM in told:
            path = next((it for it in sorted(self._first_of(item)) if it.partition("@")[0] == told[PATH]), path)
        if told[POLICY] == "Never" and COPY_FROM not in told and path not in there:
            self._fail(item, "Configuration")
            return
        there.add(path)
        self._report(item, DownloadReport(bytes_done=9, bytes_total=9, path=path, size_on_disk=9, revision="r1"))
        self._complete(item)

    def _first_of(self, item: Object) -> set[str]:
        """What is on the volume that a further copy is made of."""
        volumes = item["spec"]["template"]["spec"]["volumes"]
        name = next(it["persistentVolumeClaim"]["claimName"] for it in volumes if it["name"] == "from")
        claim = self._store.find("PersistentVolumeClaim", f"{item['metadata']['namespace']}/{name}")
        return self.contents.get(claim["metadata"]["uid"], set()) if claim else set()

    def _report(self, item: Object, report: DownloadReport) -> None:
        if item["spec"]["template"]["spec"]["containers"][0]["name"] == DOWNLOADER:
            self._store.change(item, metadata={"annotations": {REPORT_ANNOTATION: to_annotation(report)}})

    def _complete(self, item: Object) -> None:
        end = format_time(self._store.now)
        self._end(item, "Complete", "CompletionsReached", {"completionTime": end, "succeeded": 1})

    def _fail(self, item: Object, error: str) -> None:
        if error:
            self._report(item, DownloadReport(error=ReportedError(error, "SomeReason", "It went wrong.")))
        self._end(item, "Failed", "BackoffLimitExceeded", {"failed": 7})

    def _end(self, item: Object, kind: str, reason: str, counts: Object) -> None:
        condition = _condition(kind, "True", reason, "The Job is over.")
        condition["lastTransitionTime"] = format_time(self._store.now)
        gone = {"active": None, "ready": None}
        self._store.change(item, status={**gone, **counts, "conditions": [condition]})

    # Pods and nodes

    def evict(self) -> None:
        """Nodes that have been ill for long lose their pods; pods of nodes that are gone are removed."""
        nodes = {it["metadata"]["name"]: it for it in self._store.all("Node")}
        for pod in self._store.all("Pod"):
            name = pod["spec"].get("nodeName")
            if name and name not in nodes:
                self._store.remove(pod)
            elif name and (since := _ill_since(nodes[name])) and self._store.now - since >= EVICTION:
                self._delete(pod)

    def schedule(self) -> None:
        for pod in sorted(self._store.all("Pod"), key=lambda it: it["metadata"]["creationTimestamp"]):
            spec = pod["spec"]
            if spec.get("nodeName") or spec.get("schedulingGates") or "deletionTimestamp" in pod["metadata"]:
                continue
            node = next(iter(sorted(self._fitting(pod))), None)
            if node is None:
                message = "0/3 nodes are available: 3 Insufficient amd.com/gpu."
                told = _condition("PodScheduled", "False", "Unschedulable", message)
                self._store.change(pod, status={"conditions": [told]})
            else:
                self._store.change(pod, spec={"nodeName": node}, status={"conditions": None})

    def _fitting(self, pod: Object) -> Iterator[str]:
        if not self._has_volumes(pod):
            return
        for node in self._store.all("Node"):
            if is_healthy(node) and _tolerates(pod, node) and _selects(pod, node):
                there = [it for it in self._store.all("Pod") if it["spec"].get("nodeName") == node["metadata"]["name"]]
                if self._has_room(pod, node, there) and self._gets_along(pod, node, there):
                    yield node["metadata"]["name"]

    def _has_volumes(self, pod: Object) -> bool:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes", []):
            if "persistentVolumeClaim" in volume:
                key = f"{namespace}/{volume['persistentVolumeClaim']['claimName']}"
                claim = self._store.find("PersistentVolumeClaim", key)
                if not claim or claim.get("status", {}).get("phase") != "Bound":
                    return False
        return True

    def _has_room(self, pod: Object, node: Object, there: list[Object]) -> bool:
        held = sum(gpus_of(it) for it in there if not _is_over(it))
        return held + gpus_of(pod) <= int(node["status"]["allocatable"].get(GPU, "0"))

    def _gets_along(self, pod: Object, node: Object, there: list[Object]) -> bool:
        """Required (anti-)affinity by host, that of pods which are there too."""
        for term in _terms(pod, "podAntiAffinity"):
            if any(_matches(term, pod, it) for it in there):
                return False
        if any(_matches(term, it, pod) for it in there for term in _terms(it, "podAntiAffinity")):
            return False
        for term in _terms(pod, "podAffinity"):
            others = [it for it in self._store.all("Pod") if it["spec"].get("nodeName") and _matches(term, pod, it)]
            if others and not any(it in there for it in others):
                return False
        return True

    def run_pods(self) -> None:
        nodes = {it["metadata"]["name"]: it for it in self._store.all("Node")}
        for pod in self._store.all("Pod"):
            node = nodes.get(pod["spec"].get("nodeName", ""))
            if "deletionTimestamp" in pod["metadata"] and (node is None or is_healthy(node)):
                self._store.remove(pod)
            elif node and not is_healthy(node):
                self._set_ready(pod, "False")
            elif node:
                self._run_pod(pod)

    def _run_pod(self, pod: Object) -> None:
        service = f"{pod['metadata']['namespace']}/{pod['metadata'].get('labels', {}).get('inference.ai/service')}"
        name, phase = pod["spec"]["containers"][0]["name"], pod.get("status", {}).get("phase")
        if service in self.weather.failing:
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
            ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "ValueError: it went wrong"}}
            state = {"name": name, "ready": False, "restartCount": 1, "state": {"waiting": waiting}, "lastState": ended}
            self._store.change(pod, status={"phase": "Running", "containerStatuses": [state]})
            self._set_ready(pod, "False")
        elif phase == "Pending" or pod["status"].get("containerStatuses", [{}])[0].get("restartCount"):
            started = {"running": {"startedAt": format_time(self._store.now)}}
            state = {"name": name, "ready": False, "state": started}
            self._store.change(pod, status={"phase": "Running", "containerStatuses": [state]})
        else:
            self._set_ready(pod, "True")

    def _set_ready(self, pod: Object, status: str) -> None:
        live = self._store.find("Pod", key_of(pod)) or pod
        before: Object = next((it for it in live["status"].get("conditions", []) if it["type"] == "Ready"), {})
        if before.get("status") != status:
            told = {"type": "Ready", "status": status, "lastTransitionTime": format_time(self._store.now)}
            self._store.change(live, status={"conditions": [told]})

    def balance(self) -> None:
        for item in self._store.all("Service"):
            if item["spec"].get("type") == "LoadBalancer" and self.weather.balancer:
                self._store.change(item, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}})


def gpus_of(pod: Object) -> int:
    return sum(count for _, count in parse_pod_requests(pod, GPU))


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _revision(pod: Object) -> str:
    return str(pod["metadata"]["labels"].get(REVISION))


def _owner(item: Object) -> str:
    return next((str(it["uid"]) for it in item["metadata"].get("ownerReferences") or [] if it.get("controller")), "")


def _is_ready(pod: Object) -> bool:
    return any(it["type"] == "Ready" and it["status"] == "True" for it in pod["status"].get("conditions", []))


def _is_over(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _ill_since(node: Object) -> Any:
    for it in node["status"].get("conditions", []):
        if it["type"] == "Ready" and it["status"] != "True":
            return parse_time(it["lastTransitionTime"])
    return None


def is_healthy(node: Object) -> bool:
    return _ill_since(node) is None


def _tolerates(pod: Object, node: Object) -> bool:
    taints = list(node.get("spec", {}).get("taints", []))
    if node.get("spec", {}).get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    return all(any(_covers(it, taint) for it in pod["spec"].get("tolerations", [])) for taint in taints)


def _covers(toleration: Object, taint: Object) -> bool:
    same_key = toleration.get("key") in (None, "", taint["key"])
    same_value = toleration.get("operator") == "Exists" or toleration.get("value") == taint.get("value")
    return same_key and same_value and toleration.get("effect") in (None, "", taint["effect"])


def _selects(pod: Object, node: Object) -> bool:
    there = node["metadata"]["labels"]
    if not (pod["spec"].get("nodeSelector") or {}).items() <= there.items():
        return False
    required = _affinity(pod, "nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms", [])
    return not terms or any(labels.matches({"matchExpressions": it["matchExpressions"]}, there) for it in terms)


def _affinity(pod: Object, kind: str) -> Object:
    found: Object = pod["spec"].get("affinity", {}).get(kind, {})
    return found


def _terms(pod: Object, kind: str) -> list[Object]:
    found: list[Object] = _affinity(pod, kind).get("requiredDuringSchedulingIgnoredDuringExecution", [])
    return found


def _matches(term: Object, owner: Object, other: Object) -> bool:
    """Whether a term of one pod is about another one."""
    here = "namespaceSelector" in term or owner["metadata"]["namespace"] == other["metadata"]["namespace"]
    theirs = other["metadata"].get("labels", {})
    same = all(owner["metadata"]["labels"].get(it) == theirs.get(it) for it in term.get("matchLabelKeys", []))
    return here and same and other is not owner and labels.matches(term["labelSelector"], theirs)


__all__ = ["GPU", "ApiError", "Machinery", "Weather", "gpus_of"]
