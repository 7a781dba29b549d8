"""Where a pool's limit holds a service, `plan` says which one, and how far it is used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.cli.decide import decide
from app.cli.inputs import NO_OVERRIDE
from app.cli.live import Live
from app.cli.render import print_report
from app.cli.report import Report, build_report
from app.cli.scenario import Scenario, named, offline_scenario
from app.settings import Settings
from tests.cli.questions import Json, nodes, service

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BATCH = {"matchLabels": {"tier": "batch"}}
LABELS = {"metadata": {"name": "default", "labels": {"tier": "batch"}}}


def limited(asked: Json, *limits: Json, tier: str = "batch") -> Scenario:
    scenario = offline_scenario(named(asked), nodes(2), NO_OVERRIDE, Settings())
    pool = {"metadata": {"name": "default", "uid": "p"}, "spec": {"limits": list(limits)}}
    namespace = {"metadata": {"name": "default", "labels": {"tier": tier}}}
    return replace(scenario, pool=pool, namespaces={"default": namespace})


def report(scenario: Scenario) -> Report:
    return build_report(decide(scenario, Settings(), NOW))


def test_a_service_over_the_limit_is_told_which_one_and_how_far_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    limits = ({"maxPriority": 0}, {"gpus": 12}, {"namespaceSelector": BATCH, "gpus": 4})
    found = report(limited(service(gpus=8), *limits))
    assert found.outcome == "pending"
    assert found.to_json()["limit"] == {"pool": "default", "limits": [2], "gpus": 4, "used": 0, "holds": True}
    print_report(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "Limit namespace default may hold 4 GPUs of pool default (spec.limits[2]) and holds 0: the service waits for "
        "leave to hold more"
    ) in printed


def test_a_service_within_the_limit_counts_towards_it() -> None:
    found = report(limited(service(gpus=8), {"gpus": 8}, {"gpus": 8, "namespaceSelector": BATCH}))
    assert found.outcome == "fit"
    assert found.to_json()["limit"] == {"pool": "default", "limits": [0, 1], "gpus": 8, "used": 8, "holds": False}


def test_groups_that_lack_leave_are_held_while_others_have_theirs() -> None:
    found = report(limited(service(gpus=4, replicas=3), {"gpus": 8}))
    assert found.to_json()["limit"] == {"pool": "default", "limits": [0], "gpus": 8, "used": 8, "holds": True}


def test_a_limit_for_others_or_of_priority_alone_is_not_shown() -> None:
    held = ({"gpus": 0, "namespaceSelector": BATCH}, {"maxPriority": 3})
    found = report(limited(service(gpus=8), *held, tier="gold"))
    assert (found.outcome, found.to_json()["limit"]) == ("fit", None)


class Namespaces:
    """A cluster that is asked for namespaces and nothing else."""

    def list(self, path: str) -> list[Json]:
        assert path == "/api/v1/namespaces"
        return [LABELS]


@pytest.mark.parametrize(
    ("spec", "known"),
    [
        ({"limits": [{"gpus": 1, "namespaceSelector": BATCH}]}, {"default": LABELS}),
        ({"namespaceSelector": BATCH}, {"default": LABELS}),
        ({"limits": [{"gpus": 1}]}, {}),
        ({"limits": "none"}, {}),
    ],
)
def test_labels_of_namespaces_are_read_where_a_limit_selects(spec: Json, known: Json) -> None:
    """Else every limit would hold, for the labels are not known."""
    live = Live(Namespaces(), "default")  # type: ignore[arg-type]
    assert live._namespaces({"spec": spec}) == known
