"""Promises that hold over any sequence of events, on a simulated cluster of one cache."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.contracts.download import DownloadReport
from app.kube.conditions import format_time
from app.kube.manifest import Manifest
from app.kube.quantity import parse_quantity
from app.settings import Settings
from tests.calls import NOW, Answer, stored
from tests.golden.schemas import problems
from tests.modelcache.cache import call, complete, failed, running, spec

content_edits = st.sampled_from(
    [
        {"source": {"type": "huggingface", "huggingface": {"repository": "org/tiny", "revision": "v1"}}},
        {"source": {"type": "huggingface", "huggingface": {"repository": "org/tiny", "revision": "v2"}}},
        {"source": {"type": "s3", "s3": {"bucket": "my-models", "key": "a"}}},
        {"modelName": "org/other", "source": None},
    ]
)
other_edits = st.sampled_from(
    [
        {"size": "20Gi"}, {"size": "80Gi"}, {"size": None}, {"downloadPolicy": "Always"}, {"downloadPolicy": "Never"},
        {"storageClass": "slow"}, {"caching": {"replicas": 3}},
    ]
)  # fmt: skip
other_settings = st.builds(
    Settings,
    downloader_image=st.sampled_from(["one:v1", "two:v2"]),
    cache_size=st.sampled_from(["10Gi", "1Ti"]),
    storage_class=st.sampled_from(["", "fast"]),
)


class OneCache(RuleBasedStateMachine):
    """A cluster that applies what the hook answers, as Metacontroller does with claims in place and Jobs on delete."""

    @initialize(start=st.sampled_from(["name taken", "made", "filled", "filled"]))
    def create(self, start: str) -> None:
        self.now: datetime = NOW
        self.settings = Settings()
        self.spec = spec()
        self.annotations: dict[str, str] = {}
        self.status: dict[str, Any] | None = None
        self.claim: Manifest | None = None
        self.jobs: dict[str, Manifest] = {}
        self.taken = start == "name taken"
        """Whether the claim's name belongs to somebody else."""
        self.converge()
        if start == "filled":
            self.the_claim_is("Bound")
            self.jobs_complete()
            assert self.readable

    def answer(self) -> Answer:
        return call(
            {key: value for key, value in self.spec.items() if value is not None},
            children=copy.deepcopy([*([self.claim] if self.claim else []), *self.jobs.values()]),
            status=self.status,
            annotations=self.annotations,
            settings=self.settings,
            now=self.now,
        )

    def converge(self) -> None:
        for _ in range(4):
            answer = self.answer()
            new = {it["metadata"]["name"] for it in answer.children if it["kind"] == "Job"} - self.jobs.keys()
            assert self.claim or not new, "no Job is sent before the claim is seen to be ours"
            self.status = answer.status
            self.apply(answer)

    def apply(self, answer: Answer) -> None:
        claim = answer.child("PersistentVolumeClaim")
        if self.claim or not self.taken:
            kept = self.claim or {"status": {"phase": "Pending"}}
            created = kept.get("metadata", {}).get("creationTimestamp", format_time(self.now))
            self.claim = stored(claim, kept["status"])
            self.claim["metadata"]["creationTimestamp"] = created
        wanted = {it["metadata"]["name"]: it for it in answer.children if it["kind"] == "Job"}
        self.jobs = {name: self.jobs.get(name) or stored(job) for name, job in wanted.items()}

    @property
    def readable(self) -> bool:
        conditions = (self.status or {})["conditions"]
        return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)

    @property
    def size(self) -> Any:
        return parse_quantity(self.claim["spec"]["resources"]["requests"]["storage"]) if self.claim else 0

    def happen(self, event: Callable[[], None], may_break: bool = False, may_mend: bool = False) -> None:
        """Whether the model can be read flips only where the event is a cause."""
        before, claim, size = self.readable, self.claim, self.size
        self.now += timedelta(seconds=5)
        event()
        self.converge()
        assert self.readable or not before or may_break, "the model could be read, and nothing took it away"
        assert before or not self.readable or may_mend, "the model can be read, and nothing brought it"
        assert claim is None or self.size >= size or may_break, "a claim never shrinks"

    def each_job(self, change: Callable[[Manifest], Manifest]) -> None:
        self.jobs = {name: job if _is_over(job) else change(job) for name, job in self.jobs.items()}

    @rule(phase=st.sampled_from(["Pending", "Bound"]))
    def the_claim_is(self, phase: str) -> None:
        def event() -> None:
            if self.claim and self.claim["status"]["phase"] != "Bound":
                self.claim["status"] = {"phase": phase}

        self.happen(event, may_mend=True)

    @rule()
    def the_volume_is_lost(self) -> None:
        def event() -> None:
            if self.claim:
                self.claim["status"] = {"phase": "Lost"}

        self.happen(event, may_break=True)

    @rule()
    def the_claim_is_deleted(self) -> None:
        def event() -> None:
            self.claim = None

        self.happen(event, may_break=True)
        assert not self.readable, "the new claim is empty"

    @rule(percent=st.integers(0, 100))
    def jobs_progress(self, percent: int) -> None:
        self.happen(lambda: self.each_job(lambda job: running(job, percent)))

    @rule()
    def jobs_complete(self) -> None:
        if self.claim and self.claim["status"]["phase"] == "Bound":
            end = format_time(self.now + timedelta(seconds=5))
            self.happen(
                lambda: self.each_job(lambda job: complete(job, end, DownloadReport(size_on_disk=2**30))), may_mend=True
            )

    @rule()
    def jobs_fail(self) -> None:
        end = format_time(self.now)
        self.happen(lambda: self.each_job(lambda job: failed(job, finished=end)))

    @rule()
    def finished_jobs_are_removed(self) -> None:
        phase = (self.status or {})["phase"]

        def event() -> None:
            self.jobs = {name: job for name, job in self.jobs.items() if not _is_over(job)}

        self.happen(event)
        assert phase != "Ready" or (self.status or {})["phase"] == "Ready", "what is done is not done again"

    @rule(edit=content_edits)
    def the_spec_asks_for_another_model(self, edit: dict[str, Any]) -> None:
        self.happen(lambda: self.spec.update(edit), may_break=True)

    @rule(edit=other_edits)
    def the_spec_asks_for_something_else(self, edit: dict[str, Any]) -> None:
        self.happen(lambda: self.spec.update(edit))

    @rule(value=st.sampled_from(["1", "2", ""]))
    def somebody_asks_for_a_refresh(self, value: str) -> None:
        self.happen(lambda: self.annotations.update({"inference.ai/refresh": value}))

    @rule(settings=other_settings)
    def the_operator_is_upgraded(self, settings: Settings) -> None:
        self.happen(lambda: None)  # What is due by now is no work of the upgrade.
        jobs, readable = dict(self.jobs), self.readable
        self.settings = settings
        self.converge()
        assert (self.jobs, self.readable) == (jobs, readable)

    @rule(seconds=st.integers(0, 4000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.happen(lambda: None)

    @invariant()
    def another_sync_changes_nothing(self) -> None:
        answer = self.answer()
        claim, jobs = copy.deepcopy(self.claim), copy.deepcopy(self.jobs)
        assert answer.status == self.status
        self.apply(answer)
        assert (self.claim, self.jobs) == (claim, jobs)

    @invariant()
    def what_is_ready_is_on_our_volume(self) -> None:
        assert not self.readable or (self.claim and self.claim["status"]["phase"] != "Lost")

    @invariant()
    def children_and_status_fit_their_schemas(self) -> None:
        children = self.answer().children
        parent = {"apiVersion": "inference.ai/v1alpha1", "kind": "ModelCache", "status": self.status, "spec": spec()}
        assert [problem for child in [*children, parent] for problem in problems(child)] == []


def _is_over(job: Manifest) -> bool:
    return bool(job.get("status", {}).get("conditions"))


TestOneCache = OneCache.TestCase
TestOneCache.settings = hypothesis_settings(max_examples=100, stateful_step_count=15, deadline=None)
