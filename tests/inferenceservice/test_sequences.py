"""Promises that hold over any sequence of edits and events, on a simulated cluster of one service."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.inferenceservice import sync
from app.kube.manifest import LAST_APPLIED
from app.metacontroller.protocol import SyncRequest
from app.settings import Settings
from tests.golden.replay import as_json
from tests.golden.schemas import problems

START = datetime(2026, 1, 1, tzinfo=UTC)
CACHE = "ModelCache.inference.ai/v1alpha1"
WORKLOADS = ("Deployment.apps/v1", "LeaderWorkerSet.leaderworkerset.x-k8s.io/v1")
KINDS = (
    *WORKLOADS, CACHE, "Service.v1", "Ingress.networking.k8s.io/v1", "PodDisruptionBudget.policy/v1",
    "HorizontalPodAutoscaler.autoscaling/v2",
)  # fmt: skip

good_edits = st.sampled_from(
    [
        {"vllm": {"engineArgs": {"max_num_seqs": 8}}},
        {"vllm": {"engineArgs": {"max_num_seqs": 16}}},
        {"resources": {"totalGpus": 2, "cpuRequest": "1"}, "distributed": {"enabled": True, "size": 2}},
        {"resources": {"totalGpus": 2, "cpuRequest": "1"}, "distributed": {"enabled": False}},
        {"autoscaling": {"enabled": True, "maxReplicas": 4}},
        {"autoscaling": {"enabled": False}},
        {"networking": {"ingress": {"enabled": True, "host": "a.example"}}},
        {"networking": {"ingress": {"enabled": False}}},
        {"monitoring": {"enabled": False}},
        {"replicas": 2},
        {"replicas": None},
        {"storage": {"modelCache": "weights"}},
    ]
)
broken_edits = st.sampled_from(
    [
        {"vllm": {"engineArgs": {"max_num_seqs": "many"}}},
        {"vllm": {"engineArgs": {"nnodes": 3}}},
        {"resources": {"totalGpus": 3}, "distributed": {"enabled": True, "size": 2}},
        {"model": {}},
    ]
)
other_settings = st.builds(
    Settings,
    leader_image=st.sampled_from(["one:v1", "two:v2"]),
    drain=st.sampled_from(["10s", "60s"]),
    node_selector=st.sampled_from([{}, {"pool": "gpu"}]),
)


class OneService(RuleBasedStateMachine):
    """A cluster that applies what the hook answers, as Metacontroller does."""

    @initialize()
    def create(self) -> None:
        self.now = START
        self.settings = Settings()
        metadata = {"name": "demo", "namespace": "ns", "labels": {"team": "a"}}
        spec = {"model": {"name": "org/m"}, "resources": {"totalGpus": 2, "cpuRequest": "1"}}
        self.parent: dict[str, Any] = {"metadata": metadata, "spec": spec}
        self.children: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self.cache: dict[str, Any] | None = None
        self.converge()

    def request(self) -> dict[str, Any]:
        related = {CACHE: {"ns/weights": self.cache}} if self.cache else {}
        return copy.deepcopy({"parent": self.parent, "children": self.children, "related": related})

    def answer(self) -> dict[str, Any]:
        return as_json(sync(SyncRequest.model_validate(self.request()), self.settings, self.now))

    def converge(self) -> None:
        for _ in range(3):
            answer = self.answer()
            self.parent["status"] = answer["status"]
            self.apply(answer["children"])

    def apply(self, children: list[dict[str, Any]]) -> None:
        """Fields that nobody applied stay: an autoscaler's replicas, and status."""
        before, self.children = self.children, {kind: {} for kind in KINDS}
        for child in children:
            group, _, version = child["apiVersion"].rpartition("/")
            kind = f"{child['kind']}.{group}/{version}" if group else f"{child['kind']}.{version}"
            key = f"ns/{child['metadata']['name']}"
            old = before[kind].get(key, {})
            observed = copy.deepcopy(child)
            observed["metadata"].setdefault("annotations", {})[LAST_APPLIED] = json.dumps(child, sort_keys=True)
            if "replicas" not in child.get("spec", {}) and kind in WORKLOADS:
                applied = json.loads(old.get("metadata", {}).get("annotations", {}).get(LAST_APPLIED, "{}"))
                dropped = "replicas" in applied.get("spec", {})
                observed["spec"]["replicas"] = 1 if dropped else old.get("spec", {}).get("replicas", 1)
            self.children[kind][key] = observed | ({"status": old["status"]} if "status" in old else {})

    def workloads(self) -> list[dict[str, Any]]:
        return [found for kind in WORKLOADS for found in self.children[kind].values()]

    def templates(self) -> list[Any]:
        return [{k: v for k, v in it["spec"].items() if k != "replicas"} for it in self.workloads()]

    @rule(edit=good_edits)
    def edit(self, edit: dict[str, Any]) -> None:
        asked = [it["spec"]["replicas"] for it in self.workloads()]
        kinds = [it["kind"] for it in self.workloads()]
        self.parent["spec"] |= edit
        self.converge()
        assert self.workloads() or not kinds, "what runs goes on until what replaces it can be made"
        if "autoscaling" in edit and kinds == [it["kind"] for it in self.workloads()]:
            said = self.parent["spec"].get("replicas")
            assert all(it["spec"]["replicas"] in (*asked, said) for it in self.workloads())

    @rule(edit=broken_edits)
    def break_and_mend(self, edit: dict[str, Any]) -> None:
        """A broken spec touches nothing, and mending it restarts nothing."""
        spec, before = dict(self.parent["spec"]), copy.deepcopy(self.children)
        self.parent["spec"] |= edit
        self.converge()
        [ready] = [it for it in self.parent["status"]["conditions"] if it["type"] == "Ready"]
        assert ready["status"] == "False"
        assert self.children == before
        self.parent["spec"] = spec
        templates = self.templates()
        self.converge()
        assert self.templates() == templates

    @rule(settings=other_settings)
    def upgrade(self, settings: Settings) -> None:
        before = self.templates()
        self.settings = settings
        self.converge()
        assert self.templates() == before

    @rule(count=st.integers(1, 4))
    def autoscale(self, count: int) -> None:
        if not self.parent["spec"].get("autoscaling", {}).get("enabled"):
            return
        for workload in self.workloads():
            workload["spec"]["replicas"] = count
        self.converge()
        assert all(it["spec"]["replicas"] == count for it in self.workloads())

    @rule(ready=st.booleans())
    def pods_change(self, ready: bool) -> None:
        for workload in self.workloads():
            count = workload["spec"]["replicas"]
            workload["status"] = {"replicas": count, "readyReplicas": count if ready else 0}
        before = self.templates()
        self.converge()
        assert self.templates() == before

    @rule(phase=st.sampled_from([None, "Pending", "Downloading", "Ready", "Failed"]))
    def cache_flickers(self, phase: str | None) -> None:
        """What runs is never let go because a prerequisite comes or goes."""
        before = {it["kind"] for it in self.workloads()}
        status = {"phase": phase, "path": "weights-1", "claimName": "weights-cache"}
        condition = {"type": "Ready", "status": "True" if phase == "Ready" else "False", "message": "as it is"}
        self.cache = {"status": status | {"conditions": [condition]}} if phase else None
        self.converge()
        assert before <= {it["kind"] for it in self.workloads()}

    @rule(seconds=st.integers(0, 4000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def another_sync_changes_nothing(self) -> None:
        answer = self.answer()
        assert answer["status"] == self.parent["status"]
        children = copy.deepcopy(self.children)
        self.apply(answer["children"])
        assert self.children == children

    @invariant()
    def children_are_valid(self) -> None:
        assert [problem for child in self.answer()["children"] for problem in problems(child)] == []

    @invariant()
    def times_are_those_of_the_last_flip(self) -> None:
        for condition in self.parent["status"]["conditions"]:
            assert condition["lastTransitionTime"] <= self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


TestOneService = OneService.TestCase
TestOneService.settings = hypothesis_settings(max_examples=40, stateful_step_count=12, deadline=None)
