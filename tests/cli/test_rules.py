"""What admission would refuse is refused, with the rule's own words; sizes of weights that cannot be are too."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from app.api.admission import find_violations
from app.api.v1alpha1.inferenceservice import SIZE_RULES
from app.cli.batch import answer_lines
from app.hooks.kinds import KINDS
from app.settings import Settings
from tests.api.rule_table import ROWS, Row
from tests.cli.questions import Json, question, service
from tests.fit.configs import CONFIGS

QWEN = "Qwen/Qwen3-8B"
HOLDER = {"model": {"name": QWEN}}


def answer(asked: Json) -> Json:
    [found] = answer_lines([json.dumps(asked).encode()], Settings(), datetime(2026, 1, 1, tzinfo=UTC))
    return dict(found)


def with_spec(**spec: object) -> Json:
    item = service()
    return question(item | {"spec": HOLDER | {"resources": {"totalGpus": 4}} | spec})


(KIND,) = (kind for kind in KINDS if kind.name == "InferenceService")
SERVICES = [row for row in ROWS if row.kind == KIND.name]


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.what)
def test_what_admission_would_refuse_is_refused_and_sizes_are_explained_by_the_planner(row: Row) -> None:
    broken = list(find_violations(KIND, row.manifest()))
    sizes = [it for it in broken if it.rule in SIZE_RULES]
    found = answer(question(row.manifest()))
    if len(sizes) < len(broken):
        assert all(it.message in found["error"] for it in broken if it not in sizes)
    elif broken:
        assert found["outcome"] == "impossible"
    else:
        assert "outcome" in found


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"resources": {}}, "say how many GPUs one group uses: set resources.totalGpus"),
        ({"resources": {"totalGpus": 1, "gpu": {"count": 2}}}, "resources.totalGpus and resources.gpu.count mean"),
        (
            {"resources": {"totalGpus": 1, "sharing": "shared", "gpu": {"strategy": "exclusive"}}},
            "resources.sharing and resources.gpu.strategy mean",
        ),
        ({"distributed": {"enabled": True, "size": 2, "workerReplicas": 3}}, "distributed.size counts the leader"),
        ({"distributed": {"enabled": True}}, "say how many nodes one group uses: set distributed.size"),
        (
            {"model": {"name": QWEN, "source": "huggingface://Qwen/Qwen3-8B"}, "storage": {"modelCache": "c"}},
            "model.source and storage.modelCache both say",
        ),
        ({"autoscaling": {"enabled": True, "maxReplicas": 2}}, "autoscaling aims at a share of the CPU request"),
    ],
)
def test_a_spec_that_breaks_a_rule_is_refused(spec: Json, words: str) -> None:
    assert f"InferenceService demo is not accepted: spec: {words}" in answer(with_spec(**spec))["error"]


def test_broken_rules_are_told_by_field() -> None:
    asked = with_spec(autoscaling={"enabled": True, "minReplicas": 2, "maxReplicas": 1}, distributed={"enabled": True})
    assert answer(asked | {"service": asked["service"] | {"metadata": {"name": "Demo"}}}) == {
        "error": "InferenceService Demo is not accepted: the name must start with a letter and have lower-case "
        "letters, digits and '-' only, because its Service has the same name; "
        "spec: say how many nodes one group uses: set distributed.size; "
        "autoscaling aims at a share of the CPU request: set resources.cpuRequest; "
        "spec.autoscaling: autoscaling.minReplicas must not be greater than maxReplicas"
    }


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"resources": {"gpu": {"count": 4}}}, id="the second spelling"),
        pytest.param({"resources": {"totalGpus": 4, "gpu": {"count": 4}}}, id="both, alike"),
        pytest.param({"distributed": {"enabled": True, "workerReplicas": 1}}, id="workers"),
        pytest.param({"distributed": {"enabled": True, "size": 2, "workerReplicas": 1}}, id="size and workers, alike"),
        pytest.param({"distributed": {"enabled": False, "workerReplicas": None}}, id="not distributed"),
    ],
)
def test_a_spec_that_keeps_the_rules_is_answered(spec: Json) -> None:
    assert "outcome" in answer(with_spec(**spec))


@pytest.mark.parametrize("config", [None, CONFIGS[QWEN]], ids=["by the catalogue", "by its config"])
def test_weight_files_that_cannot_be_those_of_the_model_never_count_as_nothing(config: Json | None) -> None:
    found = answer(question(service(), weightsBytes=5, modelConfig=config))
    assert found == {"error": "weight files of 5 bytes are not those of a model that takes 16,381,470,720"}


def test_nodes_that_are_no_list_are_refused_even_when_empty() -> None:
    assert answer(question(service(), {})) == {"error": "nodes is no list of Nodes"}  # type: ignore[arg-type]
