"""Rules across fields without an API server: what `tests/cluster/test_rules.py` compares with the real one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.api.admission import find_violations, with_defaults
from app.api.schema import RULES, Kind, Model, Rule, Schema
from app.hooks.kinds import KINDS
from tests.api.rule_table import ROWS, Row

BY_NAME = {kind.name: kind for kind in KINDS}
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}: {row.what}")


@every_row
def test_broken_rules_are_told_with_their_fields_and_kept_ones_are_not(row: Row) -> None:
    found = [(it.path, it.message) for it in find_violations(BY_NAME[row.kind], row.manifest())]
    assert [path for path, _ in found] == [path for path, _ in row.broken]
    assert all(said.startswith(words) for (_, said), (_, words) in zip(found, row.broken, strict=True)), found


def rules_of(schema: Schema) -> set[Rule]:
    inside = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    own = {Rule.from_schema(it) for it in schema.get(RULES, ())}
    return own.union(*(rules_of(it) for it in inside if isinstance(it, dict)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_table_breaks_every_rule_of_every_kind(kind: Kind) -> None:
    rows = [row for row in ROWS if row.kind == kind.name]
    broken = {it.rule for row in rows for it in find_violations(kind, row.manifest())}
    assert rules_of(kind.schema) - broken == set(), "add a row to tests/api/rule_table.py"
    assert any(not row.broken for row in rows) or not broken


@every_row
def test_what_a_model_checks_too_it_judges_as_the_rule_does(row: Row) -> None:
    """Some models check a rule once more, for objects that were stored before it: they refuse nothing else."""
    try:
        BY_NAME[row.kind].spec.model_validate(row.spec)
    except ValidationError:
        assert row.broken


class Given(Model):
    rules = (Rule("1 % self.by == 0", "give a divisor"),)

    by: int = 1


KIND = Kind("Given", "givens", (), Given, Given, (), "A number.")


def test_a_rule_that_cannot_be_evaluated_is_broken() -> None:
    [found] = find_violations(KIND, {"metadata": {"name": "g"}, "spec": {"by": 0}})
    assert found.message == "INVALID_ARGUMENT: modulus by zero evaluating rule: give a divisor"


def test_defaults_are_filled_in_where_the_object_around_them_is_there() -> None:
    schema = BY_NAME["InferenceService"].schema
    spec = {"model": {"name": "m"}, "resources": {"totalGpus": None}, "autoscaling": {}}
    filled = with_defaults({"spec": spec}, schema)["spec"]
    assert filled["autoscaling"] == {
        "enabled": False, "minReplicas": 1, "targetUtilization": 70, "scaleDownDelay": "300s",
    }  # fmt: skip
    assert "totalGpus" not in filled["resources"]
    assert "storage" not in filled
    assert filled["replicas"] == 1
    assert spec["autoscaling"] == {}
