"""LeaderWorkerSets on the real node where their manager is not at hand: groups of pods, made as the manager makes them.

Like the manager (LWS 0.10): names, labels, environment and DNS of pods; a group restarts whole when one of its pods
ends; a changed template replaces group by group, the highest first. Unlike it: pods are made without StatefulSets, one
headless Service a group is the only subdomain policy, and there is no surge.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2

from tools.sandbox.api import Api, ApiError, Object
from tools.sandbox.cluster import Cluster, has_condition

PERIOD_SECONDS = 0.5
DOMAIN = "leaderworkerset.sigs.k8s.io"
NAME, GROUP, WORKER = f"{DOMAIN}/name", f"{DOMAIN}/group-index", f"{DOMAIN}/worker-index"
REVISION, KEY = f"{DOMAIN}/template-revision-hash", f"{DOMAIN}/group-key"


@dataclass(frozen=True)
class Group:
    """The pods of one group that exist, those on their way out included."""

    index: int
    pods: tuple[Object, ...]

    @property
    def leader(self) -> Object | None:
        return next((pod for pod in self.pods if pod["metadata"]["labels"][WORKER] == "0"), None)

    def is_ready(self, size: int) -> bool:
        return len(self.pods) == size and all(has_condition(pod, "Ready") for pod in self.pods)

    def is_broken(self, size: int) -> bool:
        """A pod is missing, is going away, has ended, or has a container that started again."""
        return len(self.pods) < size or any(_has_ended(pod) for pod in self.pods)

    def has_revision(self, revision: str) -> bool:
        return all(pod["metadata"]["labels"][REVISION] == revision for pod in self.pods)


def _has_ended(pod: Object) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    ended = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
    return ended or bool(pod["metadata"].get("deletionTimestamp")) or any(it["restartCount"] for it in statuses)


class Groups:
    """Looks at all LeaderWorkerSets twice a second; what it does depends on what is there alone."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._sets = api.resource("leaderworkerset.x-k8s.io/v1", kind="LeaderWorkerSet")
        self._pods = api.resource("v1", kind="Pod")
        self._services = api.resource("v1", kind="Service")
        self._stop = threading.Event()

    @classmethod
    @contextmanager
    def running(cls, cluster: Cluster) -> Iterator[Groups]:
        """Make groups until the block is left."""
        groups = cls(cluster.api)
        thread = threading.Thread(target=groups._run, name="groups", daemon=True)
        thread.start()
        try:
            yield groups
        finally:
            groups._stop.set()
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            for item in self._list():
                try:
                    self.step(item)
                except (ApiError, httpx2.HTTPError) as error:  # somebody else was faster: look again in a moment
                    print(f"groups of {item['metadata']['name']}: {error}", flush=True)

    def _list(self) -> list[Object]:
        try:
            return [it for it in self._api.list(self._sets)[0] if not it["metadata"].get("deletionTimestamp")]
        except (ApiError, httpx2.HTTPError):
            return []

    def step(self, item: Object) -> None:
        """One look at one LeaderWorkerSet."""
        replicas, size = item["spec"].get("replicas", 1), item["spec"]["leaderWorkerTemplate"]["size"]
        revision, groups = revision_of(item), self._groups(item)
        for index in sorted({*range(replicas), *groups}):
            self._reconcile(item, groups.get(index, Group(index, ())), replicas, size)
        self._roll(groups, revision, size, item)
        self._write_status(item, [groups[index] for index in groups if index < replicas], replicas, size, revision)

    def _groups(self, item: Object) -> dict[int, Group]:
        metadata = item["metadata"]
        pods, _ = self._api.list(self._pods, metadata["namespace"], labelSelector=f"{NAME}={metadata['name']}")
        indexes = sorted({int(pod["metadata"]["labels"][GROUP]) for pod in pods})
        return {
            index: Group(index, tuple(pod for pod in pods if pod["metadata"]["labels"][GROUP] == str(index)))
            for index in indexes
        }

    def _reconcile(self, item: Object, group: Group, replicas: int, size: int) -> None:
        """A group is made when nothing of the last one is left, and taken down by its leader, who owns the workers."""
        if not group.pods:
            if group.index < replicas:
                self._make(item, group.index, size)
            return
        if group.index >= replicas:
            self._api.delete(self._services, _leader_name(item, group.index), item["metadata"]["namespace"])
        if group.index >= replicas or group.is_broken(size):
            self._take_down(group)

    def _take_down(self, group: Group) -> None:
        """Without their leader workers go by the garbage collector."""
        leader = group.leader
        if leader and not leader["metadata"].get("deletionTimestamp"):
            metadata = leader["metadata"]
            self._api.delete(self._pods, metadata["name"], metadata["namespace"], uid=metadata["uid"])

    def _make(self, item: Object, index: int, size: int) -> None:
        service = build_service(item, index)
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        if self._api.get(self._services, name, namespace) is None:
            self._api.create(self._services, service)
        leader = self._api.create(self._pods, build_pod(item, index, 0, item))
        for worker in range(1, size):
            self._api.create(self._pods, build_pod(item, index, worker, leader))

    def _roll(self, groups: dict[int, Group], revision: str, size: int, item: Object) -> None:
        """One group of an old template goes at a time, and only while all others are ready."""
        old = [group for group in groups.values() if not group.has_revision(revision)]
        if old and all(group.is_ready(size) for group in groups.values() if group.has_revision(revision)):
            unready = [group for group in old if not group.is_ready(size)]
            self._take_down(unready[-1] if unready else old[-1])

    def _write_status(self, item: Object, groups: Sequence[Group], replicas: int, size: int, revision: str) -> None:
        ready = sum(group.is_ready(size) for group in groups)
        updated = sum(group.has_revision(revision) for group in groups)
        done = ready == updated == replicas
        status = {
            "observedGeneration": item["metadata"]["generation"],
            "replicas": len(groups),
            "readyReplicas": ready,
            "updatedReplicas": updated,
            "hpaPodSelector": f"{NAME}={item['metadata']['name']},{WORKER}=0",
            "conditions": [
                _condition(item, "Available", done, "AllGroupsReady", "All replicas are ready"),
                _condition(item, "Progressing", not done, "GroupsProgressing", "Replicas are progressing"),
            ],
        }
        if status != item.get("status"):
            metadata = item["metadata"]
            patch = {"status": status}
            self._api.patch(self._sets, metadata["name"], metadata["namespace"], patch, subresource="status")


def revision_of(item: Object) -> str:
    """What replaces groups when it changes: template, size and network, not the number of groups."""
    watched = {name: item["spec"].get(name) for name in ("leaderWorkerTemplate", "networkConfig")}
    return hashlib.sha256(json.dumps(watched, sort_keys=True).encode()).hexdigest()[:10]


def build_service(item: Object, index: int) -> Object:
    """The group's names: `<pod>.<service>.<namespace>`, also of pods that are not ready."""
    name = _leader_name(item, index)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": item["metadata"]["namespace"],
            "labels": {NAME: item["metadata"]["name"]},
            "ownerReferences": [_owner(item)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {NAME: item["metadata"]["name"], GROUP: str(index)},
        },
    }


def build_pod(item: Object, index: int, worker: int, owner: Object) -> Object:
    """Pod `worker` of group `index`; 0 leads."""
    groups = item["spec"]["leaderWorkerTemplate"]
    template = copy.deepcopy((groups.get("leaderTemplate") if worker == 0 else None) or groups["workerTemplate"])
    leader, metadata = _leader_name(item, index), item["metadata"]
    key = hashlib.sha1(f"{metadata['namespace']}/{leader}".encode()).hexdigest()
    labels = {NAME: metadata["name"], GROUP: str(index), WORKER: str(worker), REVISION: revision_of(item), KEY: key}
    address = f"{leader}.{leader}.{metadata['namespace']}"
    told = {"LWS_LEADER_ADDRESS": address, "LWS_GROUP_SIZE": str(groups["size"]), "LWS_WORKER_INDEX": str(worker)}
    name = leader if worker == 0 else f"{leader}-{worker}"
    spec = template["spec"]
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        own = [entry for entry in container.get("env") or [] if entry["name"] not in told]
        container["env"] = [{"name": variable, "value": value} for variable, value in told.items()] + own
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": (given.get("labels") or {}) | labels,
            "annotations": (given.get("annotations") or {}) | {f"{DOMAIN}/size": str(groups["size"])},
            "ownerReferences": [_owner(owner)],
        },
        "spec": spec | {"hostname": name, "subdomain": leader},
    }


def _leader_name(item: Object, index: int) -> str:
    return f"{item['metadata']['name']}-{index}"


def _owner(item: Object) -> Object:
    api_version, kind = item.get("apiVersion", "v1"), item.get("kind", "Pod")
    metadata = item["metadata"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _condition(item: Object, kind: str, holds: bool, reason: str, message: str) -> Object:
    status = str(holds)
    known = (item.get("status") or {}).get("conditions") or []
    same = next((it for it in known if it["type"] == kind and it["status"] == status), None)
    since = same["lastTransitionTime"] if same else datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
