"""Objects that others wrote: valid ones read as they are, everything else field by field, and nothing raises."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.lenient import _read_fields
from app.api.object import Object
from app.api.schema import API_VERSION
from app.api.v1alpha1.gpuallocation import GPUAllocation, Phase
from app.api.v1alpha1.gpunode import GPUNode
from app.api.v1alpha1.gpupool import GPUPool
from app.api.v1alpha1.gpurequest import GPURequest, Shape
from app.api.v1alpha1.inferenceendpoint import InferenceEndpoint
from app.api.v1alpha1.inferenceservice import InferenceService
from app.api.v1alpha1.modelcache import ModelCache

KINDS: dict[str, type[Object]] = {
    it.__name__: it
    for it in (GPUAllocation, GPUNode, GPUPool, GPURequest, InferenceEndpoint, InferenceService, ModelCache)
}
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 2**80, 0.5, "", "text", [], ["text"], {}, {"key": "text"}, [None], [{}]]
)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("apiVersion") == API_VERSION and value.get("kind") in KINDS:
            yield value
        for item in value.values():
            yield from _objects(item)


@cache
def recorded() -> list[dict[str, Any]]:
    """Every object of our kinds in the golden requests, once."""
    files = sorted((Path(__file__).parents[1] / "golden").rglob("*.request.json"))
    found = (it for file in files for it in _objects(orjson.loads(file.read_bytes())))
    return list({orjson.dumps(it): it for it in found}.values())


def test_there_are_recorded_objects_of_every_kind() -> None:
    assert {it["kind"] for it in recorded()} == KINDS.keys()


def test_both_ways_of_reading_agree_on_valid_objects() -> None:
    for manifest in recorded():
        kind = KINDS[manifest["kind"]]
        assert kind.read(manifest) == _read_fields(kind, manifest), manifest


@given(st.data())
def test_a_misshapen_value_costs_its_own_field_alone(data: st.DataObject) -> None:
    manifest = data.draw(st.sampled_from(recorded()))
    part = data.draw(st.sampled_from([it for it in ("spec", "status") if it in manifest]))
    broken = copy.deepcopy(manifest)
    field = data.draw(st.sampled_from(sorted(broken[part]) or [""]))
    broken[part][field] = data.draw(JUNK)
    kind = KINDS[manifest["kind"]]
    before, after = kind.read(manifest), kind.read(broken)
    assert after.metadata == before.metadata
    values = {it.alias or name: name for name, it in type(getattr(before, part)).model_fields.items()}
    for alias, name in values.items():
        if alias != field:
            assert getattr(getattr(after, part), name) == getattr(getattr(before, part), name)


@given(st.sampled_from(sorted(KINDS)), st.recursive(JUNK, lambda it: st.dictionaries(st.text(), it) | st.lists(it)))
def test_anything_can_be_read(kind: str, value: Any) -> None:
    for manifest in (value, {"metadata": value, "spec": value, "status": value}):
        assert isinstance(KINDS[kind].read(manifest), KINDS[kind])


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        ({}, {"digest": "", "gpus": [], "shape": None}),
        ({"digest": 7, "phase": "Later"}, {"digest": "", "phase": "Later"}),
        ({"phase": "Bound"}, {"phase": Phase.BOUND}),
        ({"digest": "x" * 1000}, {"digest": "x" * 1000}),
        ({"shape": {"tensor": 8}}, {"shape": None}),
        (
            {"shape": {"tensor": 8, "pipeline": 1, "data": 2, "product": 7}},
            {"shape": Shape(tensor=8, pipeline=1, data=2)},
        ),
        ({"breaches": ["a", 7, "b"]}, {"breaches": ["a", "b"]}),
        ({"gpus": [{"node": "n1", "group": -2, "worker": "w"}, "?"]}, {"gpus": [(-2, 0, "n1")]}),
    ],
)
def test_what_cannot_be_read_is_empty(spec: dict[str, Any], read: dict[str, Any]) -> None:
    found = GPUAllocation.read({"metadata": {"name": "a"}, "spec": spec}).spec
    values = {name: getattr(found, name) for name in read}
    if "gpus" in values:
        values["gpus"] = [(it.group, it.worker, it.node) for it in values["gpus"]]
    assert values == read
