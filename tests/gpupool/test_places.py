"""The list of an allocation's places: small enough, read back the same, and read as earlier versions wrote it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec, GrantedGPU
from app.api.v1alpha1.places import MOST_PLACES, Place, Slot, build_entries, parse_places
from app.kube.manifest import emit
from tests.gpupool.pool import Pool, gpu_node, request

ANNOTATION_LIMIT = 262_144
slots = st.tuples(st.integers(0, 40), st.integers(0, 6))
granted = st.builds(Place, st.sampled_from(["n1", "n2", "n3"]), st.integers(1, 8), st.booleans())


def written(places: dict[Slot, Place]) -> dict[str, object]:
    return {"gpus": [emit(it) for it in build_entries(places, {})]}


@given(st.dictionaries(slots, granted, max_size=60))
def test_what_is_written_is_read_back(places: dict[Slot, Place]) -> None:
    assert parse_places(GPUAllocationSpec.read(written(places)).gpus) == places


def test_one_entry_a_gpu_as_earlier_versions_wrote_is_read() -> None:
    entries = [{"group": group, "worker": 0, "node": f"n{group}"} for group in (0, 1) for _ in range(4)]
    entries += [{"group": 2, "worker": 0, "node": "n2", "proposed": True}]
    read = parse_places(GPUAllocationSpec.read({"gpus": entries}).gpus)
    assert read == {(0, 0): Place("n0", 4), (1, 0): Place("n1", 4), (2, 0): Place("n2", 1, True)}


def test_a_pod_on_two_nodes_has_no_node() -> None:
    entries = [{"group": 0, "worker": 0, "node": name} for name in ("n1", "n2")]
    assert parse_places(GPUAllocationSpec.read({"gpus": entries}).gpus) == {(0, 0): Place("", 2)}


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("each", [1, 8])
def test_ten_thousand_gpus_fit_an_annotation(scattered: bool, each: int) -> None:
    """On nodes of eight GPUs with names of 40 characters, whatever pod is where."""
    order = list(range(10_000 // each))
    if scattered:
        random.Random(1).shuffle(order)
    nodes = [f"gpu-node-{number // (8 // each):05}.rack.example.internal" for number in order]
    places = {(group, 0): Place(node, each) for group, node in enumerate(nodes)}
    memory = dict.fromkeys(nodes, 206_141_652_992)
    entries = [emit(it) for it in build_entries(places, memory)]
    assert len(json.dumps(entries)) < ANNOTATION_LIMIT - 10_000


def test_a_range_without_end_is_cut() -> None:
    places = parse_places([GrantedGPU(group=0, worker=0, node="n", more="0-999999,1.0-999999")])
    assert len(places) == MOST_PLACES


def test_a_running_allocation_of_an_earlier_version_stays_as_it_is() -> None:
    """No decision changes with the encoding, so nothing is written."""
    pool, nodes = Pool(), [gpu_node("n1")]
    pod = {"name": "p", "group": 0, "worker": 0, "node": "n1", "gpus": 8, "resource": "amd.com/gpu"}
    asked = [request("team/a", status={"pods": [pod], "groups": 1})]
    for _ in range(3):
        pool.sync(nodes, asked)
    [entry] = pool.allocations["team/a"]["gpus"]
    old = pool.allocations["team/a"] | {"gpus": [{key: it for key, it in entry.items() if key != "count"}] * 8}
    pool.allocations["team/a"] = old
    assert pool.sync(nodes, asked) == {"team/a": "Bound"}
    assert pool.allocations["team/a"] == old
