"""Promises that hold over any sequence of events, on a simulated cluster of one endpoint."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.kube.manifest import Manifest
from tests.calls import NOW, Answer, stored
from tests.golden.schemas import problems
from tests.inferenceendpoint.endpoint import call, spec, target

edits = st.sampled_from(
    [
        {"expose": {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80}]}},
        {"expose": {"type": "NodePort", "ports": [{"name": "odd", "port": 81, "targetPort": 9}]}},
        {"expose": {"type": "ClusterIP"}},
        {"ingress": {"enabled": True, "host": "a.example"}},
        {"ingress": {"enabled": False}},
        {"routing": {"strategy": "weighted"}},
    ]
)


class OneEndpoint(RuleBasedStateMachine):
    """Targets and addresses come and go; children follow the spec alone."""

    @initialize()
    def create(self) -> None:
        self.now: datetime = NOW
        self.spec = spec()
        self.status: dict[str, Any] | None = None
        self.children: dict[tuple[str, str], Manifest] = {}
        self.related: list[Manifest] = []
        self.refused = False
        self.converge()

    def answer(self) -> Answer:
        there = [child for child in self.children.values() if not self.refused or child["kind"] != "Service"]
        return call(self.spec, children=copy.deepcopy(there), related=self.related, status=self.status, now=self.now)

    def converge(self) -> None:
        for _ in range(3):
            answer = self.answer()
            self.status = answer.status
            before, self.children = self.children, {}
            for child in answer.children:
                key = child["kind"], child["metadata"]["name"]
                self.children[key] = stored(child, before.get(key, {}).get("status"))

    @rule(edit=edits)
    def the_spec_is_edited(self, edit: dict[str, Any]) -> None:
        self.spec = self.spec | edit
        self.converge()

    @rule(ready=st.none() | st.integers(0, 2), http=st.sampled_from([80, 8000]))
    def the_target_changes(self, ready: int | None, http: int) -> None:
        before = self.children
        self.related = [] if ready is None else [target(ready, http)]
        self.converge()
        assert self.children == before

    @rule(address=st.sampled_from([None, {"ip": "10.0.0.1"}, {"hostname": "lb.example"}]))
    def the_address_changes(self, address: dict[str, str] | None) -> None:
        for child in self.children.values():
            child["status"] = {"loadBalancer": {"ingress": [address]} if address else {}}
        self.converge()

    @rule(refused=st.booleans())
    def the_service_is_refused(self, refused: bool) -> None:
        self.refused = refused
        self.converge()

    @rule(seconds=st.integers(0, 100))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.converge()

    @invariant()
    def another_sync_changes_nothing(self) -> None:
        answer = self.answer()
        assert answer.status == self.status
        assert {(it["kind"], it["metadata"]["name"]) for it in answer.children} == self.children.keys()

    @invariant()
    def only_what_can_answer_is_available(self) -> None:
        [available] = [it for it in (self.status or {})["conditions"] if it["type"] == "Available"]
        ready = bool(self.related) and self.related[0]["status"]["readyReplicas"] > 0
        assert available["status"] == "False" or (ready and not self.refused)

    @invariant()
    def what_is_sent_fits_its_schema(self) -> None:
        parent = {"apiVersion": "inference.ai/v1alpha1", "kind": "InferenceEndpoint"}
        said = {**parent, "spec": self.spec, "status": self.status}
        assert [problem for it in [*self.answer().children, said] for problem in problems(it)] == []


TestOneEndpoint = OneEndpoint.TestCase
TestOneEndpoint.settings = hypothesis_settings(max_examples=30, stateful_step_count=10, deadline=None)
