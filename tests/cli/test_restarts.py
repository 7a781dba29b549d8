"""What a change would do to a service that runs: told by the same stages that would do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.cli.decide import PlanResult, decide
from app.cli.inputs import NO_OVERRIDE
from app.cli.report import Report, build_report
from app.cli.scenario import Scenario, named, offline_scenario
from app.inferenceservice.observe import GPU_REQUEST
from app.kube.manifest import Manifest, kind_key
from app.settings import Settings
from tests.cli.questions import Json, nodes, service

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEVENTY = "meta-llama/Llama-3.3-70B-Instruct"
WORKLOADS = ("Deployment", "LeaderWorkerSet")


def started(asked: Json, on: list[Json]) -> Scenario:
    """The service as it runs, all groups ready."""
    result = decide(offline_scenario(named(asked), on, NO_OVERRIDE, Settings()), Settings(), NOW)
    children: dict[str, dict[str, Manifest]] = {kind: dict(found) for kind, found in result.scenario.children.items()}
    for child in result.children:
        children[kind_key(child)] = {result.scenario.key: _observed(child, result)}
    by_name = {
        kind: {f"default/{it['metadata']['name']}": it for it in found.values()} for kind, found in children.items()
    }
    return replace(result.scenario, children=by_name)


def _observed(child: Manifest, result: PlanResult) -> Manifest:
    metadata = {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z", **child["metadata"]}
    status: dict[str, Any] = {}
    if child["kind"] in WORKLOADS:
        status = {"replicas": child["spec"]["replicas"], "readyReplicas": child["spec"]["replicas"]}
    if kind_key(child) == GPU_REQUEST:
        status = {"poolExists": True, "groups": 1, "pods": _pods(result)}
    return {**child, "metadata": metadata, "status": status}


def _pods(result: PlanResult) -> list[Json]:
    assert result.allocation is not None
    first = result.allocation.gpus[0]
    return [{"name": "pod", "group": 0, "worker": 0, "node": first.node, "gpus": first.count}]


def edited(scenario: Scenario, settings: Settings | None = None, **spec: Any) -> Report:
    changed = {**scenario.service, "spec": {**scenario.service["spec"], **spec}}
    return build_report(decide(replace(scenario, service=changed), settings or Settings(), NOW))


def model(**more: Any) -> Mapping[str, Any]:
    return {"name": SEVENTY, **more}


RUNNING = started(service(SEVENTY, 8), nodes(2))


def told(report: Report) -> tuple[bool, int, str]:
    assert report.effect is not None
    return report.effect.restarts, report.effect.groups, report.effect.message


def test_the_same_spec_restarts_nothing() -> None:
    same = edited(RUNNING)
    assert same.outcome == "fit"
    assert told(same) == (False, 0, "nothing restarts: the pods are those of this spec")
    assert sum(same.answer["excluded"].values()) + len(same.answer["nodes"]) == 2


def test_what_pods_do_not_depend_on_restarts_nothing() -> None:
    assert told(edited(RUNNING, networking={"serviceType": "LoadBalancer"}))[0] is False
    assert told(edited(RUNNING, resources={"totalGpus": 8, "priority": 5}))[0] is False
    assert told(edited(RUNNING, resources={"gpu": {"count": 8}}))[0] is False


def test_an_edit_of_the_engine_restarts_every_group_and_keeps_its_own_gpus() -> None:
    longer = edited(RUNNING, model=model(maxTokens=4096))
    restarts, groups, message = told(longer)
    assert (longer.outcome, restarts, groups) == ("fit", True, 1)
    assert message.startswith("1 group would restart, one at a time: template.spec.containers")
    assert "--max-model-len=4096" in str(longer.effect)


def test_more_groups_are_no_restart() -> None:
    two = edited(RUNNING, replicas=2)
    assert told(two) == (
        False,
        0,
        "nothing restarts: the pods are those of this spec; the number of groups goes from 1 to 2",
    )
    assert [node["gpus"] for node in two.answer["nodes"]] == [8, 8]


def test_a_change_that_has_no_gpus_waits_while_what_runs_goes_on() -> None:
    half = started(service(SEVENTY, 4), nodes(1))
    tainted = replace(half, gpu_nodes={name: _tainted(node) for name, node in half.gpu_nodes.items()})
    more = edited(tainted, resources={"totalGpus": 8})
    assert more.outcome == "pending"
    assert told(more)[2].startswith("nothing restarts now, what runs goes on: waits for GPUs of pool default")
    assert sum(more.answer["excluded"].values()) == 1
    assert more.answer["nodes"] == []


def _tainted(node: Manifest) -> Manifest:
    return {**node, "spec": {**node["spec"], "taints": [{"key": "maintenance", "effect": "NoSchedule"}]}}


def test_a_change_that_can_never_fit_touches_nothing() -> None:
    larger = edited(RUNNING, model={"name": "meta-llama/Llama-3.1-405B-Instruct"}, resources={"totalGpus": 1})
    assert larger.outcome == "impossible"
    assert told(larger)[2].startswith(
        "nothing restarts now, what runs goes on: meta-llama/Llama-3.1-405B-Instruct fits"
    )


def test_another_kind_of_workload_takes_the_place_of_the_first() -> None:
    spread = edited(RUNNING, distributed={"enabled": True, "size": 1})
    assert told(spread) == (True, 1, "1 group would end: the Deployment makes place for a LeaderWorkerSet")


def test_a_changed_setting_restarts_nothing_and_is_named() -> None:
    newer = edited(RUNNING, Settings(leader_image="inference-leader:v9"))
    restarts, groups, message = told(newer)
    assert (restarts, groups) == (False, 0)
    assert "; today's decision differs: template.spec.containers" in message
    assert "inference-leader:v9" in message
