"""Bounds in the tables of fields against the CRDs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from app.api.v1alpha1.inferenceservice import ENGINE_ARGS
from app.hooks.kinds import KINDS
from tests.docs.test_docs import PROJECT

PAGES = {
    "docs/inferenceservice.md": "InferenceService",
    "docs/modelcache.md": "ModelCache",
    "docs/inferenceendpoint.md": "InferenceEndpoint",
    "docs/gpus.md": "GPUPool",
}
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?![\d\w])")
_BOUNDS = (
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
)  # fmt: skip
_IN_CODE = {"vllm.engineArgs": {ENGINE_ARGS.total, ENGINE_ARGS.depth, ENGINE_ARGS.values, ENGINE_ARGS.key, 65_536}}
"""What no schema can see into."""


class Row(NamedTuple):
    """A field in a table, and what the table says of its bounds."""

    page: str
    field: str
    said: str
    in_column: bool
    """The table has a column for bounds."""
    cell: str
    """The cell that names the field, and others that share its row."""


def tables() -> Iterator[Row]:
    for page in PAGES:
        heading: list[str] = []
        for line in (PROJECT / page).read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
            if cells and cells[0].startswith("Field"):
                heading = cells
            elif not cells:
                heading = []
            elif heading and "Default" in heading and cells[0].startswith("`"):
                prefix = "source." if "source" in heading[0] else ""
                said = cells[heading.index("Bounds" if "Bounds" in heading else "Meaning")]
                for field in re.findall(r"`(\w[^`]*)`", cells[0]):
                    yield Row(page, prefix + field, said, "Bounds" in heading, cells[0])


ROWS = list(tables())
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.page}: {row.field}")


def schema(row: Row) -> Mapping[str, Any]:
    [kind] = [it for it in KINDS if it.name == PAGES[row.page]]
    [version] = kind.to_manifest()["spec"]["versions"]
    node = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for part in row.field.split("."):
        node = node["properties"][part.removesuffix("[]")]
        node = node["items"] if part.endswith("[]") else node
    found: Mapping[str, Any] = node
    return found


def bounds(node: Mapping[str, Any]) -> set[int]:
    """Every bound of a schema and of what it holds, those of its rules too."""
    found = {int(node[key]) for key in _BOUNDS if key in node}
    for rule in node.get("x-kubernetes-validations", ()):
        found |= {int(number) for number in re.findall(r"\d+", rule["rule"])}
    for key in ("items", "additionalProperties"):
        found |= bounds(node[key]) if isinstance(node.get(key), Mapping) else set()
    return found


def numbers(said: str) -> set[int]:
    """Numbers of a cell, both of "1-64", and none of what is code, such as `1h`, or of a duration."""
    plain = re.sub(r"(\d) ?- ?(\d)", r"\1 \2", re.sub(r"`[^`]*`", "", said))
    return {int(found.replace(",", "")) for found in _NUMBER.findall(plain)}


def test_the_tables_are_found() -> None:
    assert {row.page for row in ROWS} == set(PAGES)
    assert len(ROWS) > 60


@every_row
def test_a_field_of_a_table_exists(row: Row) -> None:
    assert schema(row), f"{row.page}: {row.field} is no field"


@every_row
def test_every_bound_that_is_said_is_the_crds(row: Row) -> None:
    beside = [schema(it) for it in ROWS if (it.page, it.cell) == (row.page, row.cell)]
    known = set().union(*map(bounds, beside)) | _IN_CODE.get(row.field, set())
    is_told = row.in_column or re.search(r"(?i)up to|character|at most", row.said)
    said = numbers(row.said) if is_told else set()
    assert said <= known, f"{row.page}: {row.field} has the bounds {sorted(known)}"


@every_row
def test_a_number_has_both_its_bounds_where_the_table_has_a_column_for_them(row: Row) -> None:
    node = schema(row)
    if node.get("type") in ("integer", "number") and row.in_column:
        assert numbers(row.said) >= {int(node["minimum"]), int(node["maximum"])}, f"{row.page}: bound {row.field}"
