"""What a cluster test says: apply, wait, look, in one namespace."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tools.sandbox.api import ApiError, Object, read_objects
from tools.sandbox.audit import AuditEvent
from tools.sandbox.cluster import Cluster, has_condition, wait_until
from tools.sandbox.metacontroller import USER as METACONTROLLER
from tools.sandbox.operator import PROJECT, Operator

API = "inference.ai/v1alpha1"
LWS = "leaderworkerset.x-k8s.io/v1"
HPA = "autoscaling/v2"
EXAMPLES = PROJECT / "deploy" / "examples"
RESYNC_SECONDS = 5
QUIET = timedelta(seconds=RESYNC_SECONDS + 1)
LOOK_SECONDS = 60.0
"""For one answer of a server that is busy."""
NO_STATE = ("events", "events.events.k8s.io", "leases.coordination.k8s.io")
"""What is written over and over though nothing has changed."""


def example(name: str) -> Object:
    """An object of deploy/examples."""
    [item] = read_objects(EXAMPLES / f"{name}.yaml")
    return item


def service(name: str = "demo", **spec: Any) -> Object:
    """A small InferenceService: one GPU of one node, weights fetched by vLLM itself."""
    base: dict[str, Any] = {"model": {"name": "org/tiny"}, "resources": {"totalGpus": 1}}
    return {"apiVersion": API, "kind": "InferenceService", "metadata": {"name": name}, "spec": base | spec}


def group(name: str = "demo", **spec: Any) -> Object:
    """A small distributed InferenceService: two nodes of one GPU."""
    return service(name, **{"resources": {"totalGpus": 2}, "distributed": {"enabled": True, "size": 2}} | spec)


def condition(item: Object | None, kind: str) -> Object:
    """A condition of an object's status, or {}."""
    found = ((item or {}).get("status") or {}).get("conditions") or []
    return next((it for it in found if it["type"] == kind), {})


@dataclass
class World:
    operator: Operator
    namespace: str

    @property
    def cluster(self) -> Cluster:
        return self.operator.cluster

    def create_namespace(self, name: str) -> None:
        """A namespace under Pod Security Standard "restricted", as users of shared clusters have them."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.cluster.wait_for("v1", "ServiceAccount", "default", name, lambda _: True)

    def apply(self, item: Object, namespace: str | None = None) -> Object:
        placed = copy.deepcopy(item)
        placed["metadata"]["namespace"] = namespace or self.namespace
        return self.cluster.apply(placed)[0]

    def refusal(self, item: Object) -> str:
        """Why admission refuses an object; fails when it does not."""
        try:
            self.apply(item)
        except ApiError as error:
            return error.message
        raise AssertionError(f"{item['kind']} was accepted: {item['spec']}")

    def patch(self, name: str, body: Object, kind: str = "InferenceService") -> Object:
        return self.cluster.patch(API, kind, name, self.namespace, body)

    def get(self, api_version: str, kind: str, name: str) -> Object | None:
        return self.cluster.get(api_version, kind, name, self.namespace)

    def all_of(self, api_version: str, kind: str) -> list[Object]:
        return self.cluster.list(api_version, kind, self.namespace)

    def names(self, api_version: str, kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in self.all_of(api_version, kind)}

    def deployment(self, name: str = "demo") -> Object:
        return self._there("apps/v1", "Deployment", f"{name}-leader")

    def group(self, name: str = "demo") -> Object:
        return self._there(LWS, "LeaderWorkerSet", name)

    def _there(self, api_version: str, kind: str, name: str) -> Object:
        found = self.get(api_version, kind, name)
        assert found is not None, f"{kind} {name} does not exist"
        return found

    def wait_ready(self, name: str = "demo", kind: str = "InferenceService", headline: str = "Ready") -> Object:
        return self.cluster.wait_for(
            API, kind, name, self.namespace, lambda it: has_condition(it, headline), describe=headline
        )

    def wait_condition(
        self, kind: str, status: str, text: str = "", name: str = "demo", of: str = "InferenceService"
    ) -> Object:
        """Wait until a condition has a status and its message holds `text`."""

        def holds(item: Object) -> bool:
            found = condition(item, kind)
            return found.get("status") == status and text in found.get("message", "")

        return self.cluster.wait_for(API, of, name, self.namespace, holds, describe=f"{kind}={status} with {text!r}")

    def wait_observed(self, name: str = "demo", kind: str = "InferenceService") -> Object:
        """Wait until the status is about the latest spec."""
        return self.cluster.wait_for(
            API,
            kind,
            name,
            self.namespace,
            lambda it: (it.get("status") or {}).get("observedGeneration") == it["metadata"]["generation"],
            describe="observed",
        )

    def resyncs(self, count: int) -> list[AuditEvent]:
        """What Metacontroller writes into this namespace during `count` resync periods."""
        since = self.cluster.now()
        time.sleep(count * RESYNC_SECONDS + 1)
        events = self.cluster.audit_writes(since)
        return [it for it in events if it.user == METACONTROLLER and it.namespace == self.namespace]

    def syncs(self) -> int:
        """Sync requests that the hook service has answered since its start."""
        text = httpx2.get(f"{self.operator.hooks.url}/metrics", timeout=LOOK_SECONDS).text
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        return int(sum(it.value for it in samples if it.name == "inference_operator_syncs_total"))

    def settled(self) -> None:
        """Wait until nobody has written here for longer than a resync period: statuses of children come in late, and
        what a busy machine has not come to yet is then made up for."""
        time.sleep(2)  # what was done just now, such as a restart, is no write
        wait_until(lambda: not self._writes_after(self.cluster.now() - QUIET), f"no more writes in {self.namespace}")

    def _writes_after(self, since: datetime) -> list[AuditEvent]:
        events = self.cluster.audit_writes(since)
        return [it for it in events if it.namespace == self.namespace and it.resource not in NO_STATE]

    def remove_services(self) -> None:
        for kind in ("InferenceEndpoint", "InferenceService", "ModelCache"):
            for item in self.all_of(API, kind):
                self.cluster.delete(API, kind, item["metadata"]["name"], self.namespace)
        wait_until(lambda: not self._holds_gpus(), f"the GPUs of {self.namespace} are free")

    def _holds_gpus(self) -> bool:
        pods = self.all_of("v1", "Pod")
        return any(gpus(pod) for pod in pods)

    def events(self, name: str) -> list[Object]:
        """The events of this namespace about objects of a name: other tests call theirs so, too."""
        return [it for it in self.all_of("v1", "Event") if it["involvedObject"].get("name") == name]


def gpus(pod: Object) -> int:
    """GPUs a pod asks for."""
    requests = [it.get("resources", {}).get("requests", {}) for it in pod["spec"]["containers"]]
    return sum(int(request.get("amd.com/gpu", 0)) for request in requests)


def engine_flags(workload: Object) -> list[str]:
    """vLLM's arguments in a Deployment or LeaderWorkerSet."""
    spec = workload["spec"]
    template = spec["leaderWorkerTemplate"]["leaderTemplate"] if "leaderWorkerTemplate" in spec else spec["template"]
    arguments: list[str] = template["spec"]["containers"][0]["args"]
    return arguments
