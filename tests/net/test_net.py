"""The whole operator under whatever users, clusters and watches do: random steps, and what must hold at each."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from app.kube.names import REFRESH_ANNOTATION, REPLAN_ANNOTATION
from app.settings import Settings
from tests.net import users
from tests.net.machinery import GPU
from tests.net.store import merged
from tests.net.truths import WORKLOADS
from tests.net.world import World
from tools.sandbox.api import Object
from tools.sandbox.standin.informer import key_of

services, caches = st.sampled_from(users.SERVICES), st.sampled_from(users.CACHES)
endpoints, pools, nodes = (st.sampled_from(it) for it in (users.ENDPOINTS, users.POOLS, users.NODES))
parents = st.sampled_from(users.PARENTS)
marks = st.sampled_from(["", "1", "2", "3"])
lags = st.dictionaries(
    st.sampled_from(
        [
            "InferenceService", "ModelCache", "GPUPool", "GPUNode", "GPURequest", "GPUAllocation", "Deployment",
            "LeaderWorkerSet", "Job", "PersistentVolumeClaim", "Service", "Pod", "Node",
        ]
    ),
    st.integers(1, 6),
    max_size=4,
)  # fmt: skip
"""Writes that watches have not told yet, by kind."""
operators = st.builds(
    Settings,
    pools=st.sampled_from(["required", "required", "none"]),
    host_path_prefixes=st.just(("/mnt/models/{namespace}", "/mnt/models")),
    sharing=st.sampled_from(["shared", "shared", "exclusive"]),
)
beginnings = st.fixed_dictionaries(
    {
        "pools": st.sampled_from([["default"], ["default"], ["default", "spare"], []]),
        "ModelCache": st.dictionaries(caches, users.caches, max_size=2),
        "InferenceService": st.dictionaries(services, users.services, max_size=3),
        "settled": st.booleans(),
    }
)
edits_of_services = st.lists(users.service_edits, min_size=1, max_size=3)
weather = st.sampled_from(
    [
        ("volumes", True), ("volumes", False), ("balancer", True), ("balancer", False), ("quota", True),
        ("quota", False), ("overdue", True), ("overdue", False), ("failing", set()), ("failing", {"red/a"}),
        ("failing", {"red/a", "red/b", "blue/c"}),
    ]
)  # fmt: skip
node_changes = st.sampled_from(
    [
        "ready", "ready", "not ready", "tainted", "avoided", "cordoned", "open", "0 GPUs", "4 GPUs", "7 GPUs",
        "8 GPUs", "gone",
    ]
)  # fmt: skip
upgrades = st.fixed_dictionaries(
    {
        "leader_image": st.sampled_from(["one:v1", "two:v2"]),
        "downloader_image": st.sampled_from(["one:v1", "two:v2"]),
        "drain": st.sampled_from(["10s", "60s"]),
        "cache_size": st.sampled_from(["100Gi", "1Ti"]),
    }
)
FOREIGN: tuple[tuple[str, str, Object], ...] = (
    ("Service", "red/a", {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}}),
    ("Service", "red/e-endpoint", {"spec": {"type": "ExternalName", "externalName": "example.com"}}),
    ("ServiceAccount", "red/w-downloader", {}),
    ("NetworkPolicy", "red/b", {"spec": {"podSelector": {}}}),
    ("GPURequest", "red/a", {"spec": {"pool": "default", "digest": "x", "resource": GPU, "nodes": 1, "gpusPerNode": 8,
        "strategy": "dynamic", "sharing": "shared", "replicas": {"min": 1, "max": 1}, "shapes": []}}),
    ("PersistentVolumeClaim", "red/w-cache", {"spec": {"accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}}}}),
    ("PersistentVolumeClaim", "red/theirs", {"spec": {"accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}}}}),
    ("Pod", "red/foreign", {"spec": {"containers": [{"name": "x", "resources": {"requests": {GPU: "6"}}}]},
        "status": {"phase": "Pending"}}),
    ("Pod", "blue/foreign", {"spec": {"containers": [{"name": "x", "resources": {"requests": {GPU: "8"}}}]},
        "status": {"phase": "Pending"}}),
)  # fmt: skip
MEDDLING: tuple[Object, ...] = (
    {"metadata": {"labels": {"app.kubernetes.io/name": "theirs", "team": "a"}}},
    {"metadata": {"annotations": {"inference.ai/spec-digest": "0123456789abcdef"}}},
    {"metadata": {"annotations": {"metacontroller.k8s.io/last-applied-configuration": "{}"}}},
    {"metadata": {"annotations": {"metacontroller.k8s.io/last-applied-configuration": None}}},
    {"spec": {"template": {"spec": {"priorityClassName": "theirs"}}}},
    {"spec": {"template": {"spec": {"hostNetwork": True}}}},
    {"metadata": {"ownerReferences": None}},
)


class Cluster(RuleBasedStateMachine):
    """One cluster with everything in it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(nodes=0)

    @initialize(
        settings=operators, lws=st.sampled_from([True, True, True, False]), nodes=st.integers(1, 3), there=beginnings
    )
    def install(self, settings: Settings, lws: bool, nodes: int, there: Any) -> None:
        self.world = World(settings, lws, nodes)
        for pool in there["pools"]:
            self.world.make("GPUPool", pool, spec={})
        for kind in ("ModelCache", "InferenceService"):
            for key, spec in there[kind].items():
                self.world.make(kind, key, spec=spec)
        self.world.make("InferenceEndpoint", "red/e", spec={"service": "a"})
        if there["settled"]:
            self.world.settle()

    # Users

    @rule(key=services, edits=edits_of_services, settled=st.booleans(), fresh=users.services)
    def edit_service(self, key: str, edits: list[Object], settled: bool, fresh: Object) -> None:
        """Or create it."""
        self.world.make("InferenceService", key, spec=fresh)
        for edit in edits:
            self.world.edit("InferenceService", key, spec=edit)
        if settled:
            self.world.settle()

    @rule(key=services, edits=edits_of_services)
    def edit_step_by_step(self, key: str, edits: list[Object]) -> None:
        """With one look of everybody between two edits."""
        for edit in edits:
            self.world.edit("InferenceService", key, spec=edit)
            self.world.round()

    @rule(key=services, words=users.other_words)
    def respell_service(self, key: str, words: str) -> None:
        found = self.world.store.find("InferenceService", key)
        if found and isinstance(found["spec"].get("distributed", {}), dict):
            self.world.edit("InferenceService", key, spec=users.respelled(found["spec"], words))

    @rule(key=services, edit=users.broken_services)
    def break_and_mend_service(self, key: str, edit: Object) -> None:
        """A broken spec changes nothing, and mending it restarts nothing."""
        self._break_and_mend("InferenceService", key, edit)

    @rule(key=caches, edit=users.broken_caches)
    def break_and_mend_cache(self, key: str, edit: Object) -> None:
        self._break_and_mend("ModelCache", key, edit)

    def _break_and_mend(self, kind: str, key: str, edit: Object) -> None:
        found = self.world.store.find(kind, key)
        if found is None:
            return
        self.world.replace_spec(kind, key, merged(found["spec"], edit))
        self.world.settle()
        self.world.replace_spec(kind, key, found["spec"])

    @rule(
        key=caches, edits=st.lists(users.cache_edits, min_size=1, max_size=2), settled=st.booleans(), fresh=users.caches
    )
    def edit_cache(self, key: str, edits: list[Object], settled: bool, fresh: Object) -> None:
        self.world.make("ModelCache", key, spec=fresh)
        for edit in edits:
            self.world.edit("ModelCache", key, spec=edit)
        if settled:
            self.world.settle()

    @rule(key=endpoints, edit=users.endpoint_edits)
    def edit_endpoint(self, key: str, edit: Object) -> None:
        if not self.world.make("InferenceEndpoint", key, spec=merged({"service": "a"}, edit)):
            self.world.edit("InferenceEndpoint", key, spec=edit)

    @rule(key=pools, edit=users.pool_edits)
    def edit_pool(self, key: str, edit: Object) -> None:
        if not self.world.make("GPUPool", key, spec=merged({}, edit)):
            self.world.edit("GPUPool", key, spec=edit)

    @rule(key=services, cache=caches, value=marks, replan=st.booleans())
    def annotate(self, key: str, cache: str, value: str, replan: bool) -> None:
        """A new plan for a service, or a new download."""
        if replan:
            self.world.edit("InferenceService", key, metadata={"annotations": {REPLAN_ANNOTATION: value or None}})
        else:
            self.world.edit("ModelCache", cache, metadata={"annotations": {REFRESH_ANNOTATION: value or None}})

    @rule(parent=parents, lingers=st.booleans())
    def delete(self, parent: tuple[str, str], lingers: bool) -> None:
        self.world.hold(*parent, held=lingers)
        self.world.delete(*parent)

    @rule(parent=parents)
    def let_go(self, parent: tuple[str, str]) -> None:
        self.world.hold(*parent, held=False)

    @rule(key=services, count=st.integers(0, 3))
    def scale(self, key: str, count: int) -> None:
        """A person, or the autoscaler."""
        for kind, name in (("Deployment", f"{key}-leader"), ("LeaderWorkerSet", key)):
            self.world.edit(kind, name, spec={"replicas": count})

    # Everybody else

    @rule(foreign=st.sampled_from(FOREIGN))
    def take_a_name(self, foreign: tuple[str, str, Object]) -> None:
        kind, key, parts = foreign
        self.world.make(kind, key, **copy.deepcopy(parts))

    @rule(data=st.data())
    def meddle(self, data: st.DataObject) -> None:
        """Somebody edits, deletes or gives away a child."""
        children = [it for it in self.world.store.everything() if it["metadata"].get("ownerReferences")]
        children = [it for it in children if it["kind"] not in ("Pod", "GPUAllocation", "GPUNode")]
        workloads = [it for it in children if it["kind"] in WORKLOADS]
        of_workloads = data.draw(st.booleans(), label="of a workload")
        children = workloads if workloads and of_workloads else children
        if not children:
            return
        named = {f"{it['kind']} {key_of(it)}": it for it in children}
        child = named[data.draw(st.sampled_from(sorted(named)), label="child")]
        change = data.draw(st.sampled_from([None, *MEDDLING]), label="change")
        if change is None:
            self.world.delete(child["kind"], key_of(child))
        elif "spec" not in change or child["kind"] == "Deployment":
            self.world.edit(child["kind"], key_of(child), **change)
            self.world.truths.touched.add(child["metadata"]["uid"])

    @rule(settings=upgrades)
    def upgrade(self, settings: Any) -> None:
        self.world.hooks.settings = self.world.hooks.settings.model_copy(update=settings)

    # The cluster

    @rule(key=nodes, change=node_changes, product=st.sampled_from(["MI300X", "MI300X", "MI210"]))
    def change_a_node(self, key: str, change: str, product: str) -> None:
        if not self.world.change_node(key, change):
            self.world.add_node(int(key[-1]), product=product)

    @rule(jobs=st.sampled_from(["done", "done", "held", "running", "failed"]), moved=st.booleans(),
          error=st.sampled_from(["External", "Configuration", "Transient", ""]))  # fmt: skip
    def jobs_go(self, jobs: str, moved: bool, error: str) -> None:
        weather = self.world.machinery.weather
        weather.jobs, weather.moved, weather.error = jobs, moved, error

    @rule(change=weather)
    def weather_changes(self, change: tuple[str, Any]) -> None:
        setattr(self.world.machinery.weather, *change)

    @rule(silent=st.booleans())
    def agent_is(self, silent: bool) -> None:
        self.world.agent.is_silent = silent

    @rule(data=st.data(), mishap=st.sampled_from(["pod deleted", "jobs removed", "volume lost"]))
    def mishap(self, data: st.DataObject, mishap: str) -> None:
        if mishap == "pod deleted" and (pods := self.world.store.all("Pod")):
            self.world.delete("Pod", data.draw(st.sampled_from([key_of(it) for it in pods])))
        elif mishap == "volume lost":
            for claim in self.world.store.all("PersistentVolumeClaim")[:1]:
                self.world.edit("PersistentVolumeClaim", key_of(claim), status={"phase": "Lost"})
        elif mishap == "jobs removed":
            for job in self.world.store.all("Job"):
                if job.get("status", {}).get("conditions"):
                    self.world.delete("Job", key_of(job))

    @rule(seconds=st.sampled_from([5, 31, 61, 181, 601, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.world.store.pass_time(seconds)

    # The operator

    @rule(data=st.data(), controller=st.sampled_from(["inferenceservice", "modelcache", "inferenceendpoint", "gpupool",
          "gpunode"]), lag=lags, times=st.integers(1, 2))  # fmt: skip
    def sync(self, data: st.DataObject, controller: str, lag: dict[str, int], times: int) -> None:
        seen = self.world.operator.parents(controller)
        if seen:
            key = data.draw(st.sampled_from(seen), label="parent")
            for _ in range(times):
                self.world.sync(controller, key, lambda kind: lag.get(kind, 0))

    @rule(lag=lags)
    def watches_tell(self, lag: dict[str, int]) -> None:
        self.world.operator.views.advance(lambda kind: lag.get(kind, 0))

    @rule(lag=lags)
    def agent_looks(self, lag: dict[str, int]) -> None:
        self.world.report(lambda kind: lag.get(kind, 0))

    @rule()
    def machinery_looks(self) -> None:
        self.world.machinery.look()

    @rule()
    def round(self) -> None:
        self.world.round()

    @rule()
    def settle(self) -> None:
        self.world.settle()

    def teardown(self) -> None:
        self.world.settle()


TestCluster = Cluster.TestCase
TestCluster.settings = hypothesis_settings(max_examples=100, stateful_step_count=40, deadline=None)
