"""How many groups are asked for, by the user, an autoscaler, or nobody."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.kube.manifest import LAST_APPLIED
from app.kube.names import SIZE_ANNOTATION
from tests.inferenceservice.service import (
    AUTOSCALED,
    DISTRIBUTED,
    WORKLOADS,
    call,
    observed,
    running,
    spec,
    workload,
)

BROKEN = {"vllm": {"engineArgs": {"max_num_seqs": "many"}}}


def asked(given: dict[str, Any], **options: Any) -> Any:
    return workload(call(given, **options))["spec"].get("replicas", "left out")


@pytest.mark.parametrize("kind", [pytest.param({}, id="Deployment"), pytest.param(DISTRIBUTED, id="LeaderWorkerSet")])
def test_a_new_service_is_one_group(kind: dict[str, Any]) -> None:
    assert asked(spec(**kind)) == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_number_in_the_spec_is_asked_for(count: int) -> None:
    assert asked(spec(replicas=count)) == count
    assert asked(spec(replicas=count), children=observed(call(), replicas=2)) == count


def test_without_a_number_what_runs_stays() -> None:
    assert asked(spec(), children=observed(call(), replicas=3)) == 3


def test_a_service_born_under_an_autoscaler_leaves_the_number_to_it() -> None:
    born = spec(**AUTOSCALED)
    assert asked(born) == "left out"
    assert asked(born, children=observed(call(born), replicas=3)) == "left out"


def test_a_number_that_was_applied_once_is_echoed_under_an_autoscaler() -> None:
    """Leaving it out would reset the groups to 1."""
    assert asked(spec(**AUTOSCALED), children=observed(call(), replicas=3)) == 3


@pytest.mark.parametrize(("running", "number"), [(5, 5), (0, 1)])
def test_a_workload_that_replaces_another_starts_with_its_number_under_an_autoscaler(running: int, number: int) -> None:
    """Left out, it would start with 1 group while the one that served five goes."""
    scaled = spec(**AUTOSCALED | {"resources": {"totalGpus": 2, "cpuRequest": "1"}})
    spread = scaled | {"distributed": DISTRIBUTED["distributed"]}
    replaced = call(spread, children=observed(call(scaled), replicas=running))
    assert workload(replaced)["kind"] == "LeaderWorkerSet"
    assert workload(replaced)["spec"]["replicas"] == number
    assert asked(spread, children=observed(replaced, replicas=7)) == 7


def test_switching_autoscaling_off_keeps_the_number() -> None:
    born = call(spec(**AUTOSCALED))
    assert asked(spec(), children=observed(born, replicas=3)) == 3


def without_source(children: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As an operator that did not say where the number came from has left the workload."""
    for child in children:
        if child["kind"] in WORKLOADS:
            child["metadata"]["annotations"].pop(SIZE_ANNOTATION, None)
            applied = orjson.loads(child["metadata"]["annotations"][LAST_APPLIED])
            applied["metadata"]["annotations"].pop(SIZE_ANNOTATION, None)
            child["metadata"]["annotations"][LAST_APPLIED] = orjson.dumps(applied).decode()
    return children


def test_the_api_servers_default_scales_nothing_at_an_upgrade() -> None:
    """The API server reads what was left out as 1; an autoscaler of the user may have given the Deployment 3."""
    before = without_source(observed(call(), replicas=3))
    answer = call(spec(replicas=1), children=before)
    assert workload(answer)["spec"]["replicas"] == 3
    assert "replicas: 3 groups were asked for by somebody else and stay" in answer.condition("Ready")["message"]
    assert asked(spec(replicas=2), children=before) == 2


def test_a_workload_of_an_earlier_version_at_one_group_stays_with_its_own_autoscaler() -> None:
    one = call(spec(replicas=1), children=without_source(observed(call(), replicas=1)))
    assert asked(spec(replicas=1), children=observed(one, replicas=4)) == 4


def test_the_default_after_a_given_number_is_a_wish() -> None:
    three = call(spec(replicas=3), children=without_source(running(spec(replicas=3))))
    assert asked(spec(replicas=1), children=observed(three)) == 1


def test_switching_autoscaling_off_keeps_the_number_beside_the_default() -> None:
    scaled = observed(call(spec(**AUTOSCALED, replicas=1), children=running()), replicas=5)
    assert asked(spec(replicas=1), children=scaled) == 5
    assert asked(spec(replicas=2), children=scaled) == 2


def test_under_an_autoscaler_the_default_is_not_warned_of() -> None:
    warned = [call(spec(**AUTOSCALED, replicas=n), children=running()).condition("Ready")["message"] for n in (1, 2)]
    assert ["ignored while autoscaling" in message for message in warned] == [False, True]


def test_the_number_in_the_spec_is_ignored_under_an_autoscaler() -> None:
    assert asked(spec(**AUTOSCALED, replicas=7), children=observed(call(), replicas=3)) == 3


def test_an_autoscaler_wakes_a_service_that_was_scaled_to_zero() -> None:
    """HorizontalPodAutoscaler does nothing while its target is at 0."""
    scaling = {"enabled": True, "minReplicas": 2, "maxReplicas": 4}
    woken = spec(**AUTOSCALED | {"autoscaling": scaling})
    assert asked(woken, children=observed(call(spec(replicas=0)), replicas=0)) == 2


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(BROKEN, id="an argument that is wrong"),
        pytest.param({"model": {}}, id="a spec that cannot be read"),
        pytest.param({"storage": {"modelCache": "missing"}}, id="a cache that is missing"),
    ],
)
def test_what_is_held_stays_at_the_size_the_autoscaler_gave_it(edit: dict[str, Any]) -> None:
    scaled = spec(**AUTOSCALED)
    echoed = call(scaled, children=running())
    assert asked(scaled | edit, children=observed(echoed, replicas=4)) == 4


def test_replicas_change_nothing_but_replicas() -> None:
    before, after = workload(call(spec(replicas=1))), workload(call(spec(replicas=2)))
    assert after == before | {"spec": before["spec"] | {"replicas": 2}}
