"""Layouts of one group, from the spec alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fit.parallelism import GivenSizes, Impossible, Parallelism, ParallelismRequest, Strategy, plan_parallelism

STATIC, DYNAMIC, TOPOLOGY = Strategy.STATIC, Strategy.DYNAMIC, Strategy.TOPOLOGY_AWARE


def demand(
    gpus: int,
    nodes: int = 1,
    strategy: Strategy = DYNAMIC,
    auto: bool = False,
    sizes: GivenSizes | None = None,
    even: bool = True,
) -> ParallelismRequest:
    return ParallelismRequest(gpus, nodes, strategy, auto, sizes or GivenSizes(), even)


@pytest.mark.parametrize(
    ("asked", "tensor", "pipeline", "data"),
    [
        pytest.param(demand(4, 2, auto=True, sizes=GivenSizes(2, 1)), 2, 1, 2, id="the sample fills with DP"),
        pytest.param(demand(4, 4), 1, 4, 1, id="dynamic without autoOptimize is one pipeline"),
        pytest.param(demand(8), 1, 8, 1, id="dynamic on one node without autoOptimize is one pipeline too"),
        pytest.param(demand(8, auto=True), 8, 1, 1, id="autoOptimize uses tensor parallelism inside a node"),
        pytest.param(demand(16, 2, auto=True), 8, 2, 1, id="autoOptimize uses pipeline parallelism across nodes"),
        pytest.param(demand(6, auto=True), 2, 1, 3, id="autoOptimize fills an odd rest with DP"),
        pytest.param(demand(24, 4, auto=True), 2, 6, 2, id="autoOptimize lays copies evenly on nodes of six"),
        pytest.param(demand(12, 4, auto=True), 1, 6, 2, id="autoOptimize lays copies evenly on nodes of three"),
        pytest.param(demand(6, 2, sizes=GivenSizes(2)), 2, 3, 1, id="PP fills where copies of TP would lie unevenly"),
        pytest.param(demand(6, 2, sizes=GivenSizes(pipeline=2)), 3, 2, 1, id="TP fills where copies of PP would"),
        pytest.param(
            demand(6, 2, sizes=GivenSizes(2), even=False), 2, 1, 3, id="who places copies itself fills with DP"
        ),
        pytest.param(demand(6, 3, sizes=GivenSizes(data=2), even=False), 1, 3, 2, id="and lays them unevenly"),
        pytest.param(demand(16, 2, TOPOLOGY, auto=True), 8, 2, 1, id="topology-aware has the sizes of dynamic"),
        pytest.param(demand(4, 4, STATIC), 1, 4, 1, id="static is one GPU a node"),
        pytest.param(demand(1, 1, STATIC), 1, 1, 1, id="static with one GPU"),
        pytest.param(demand(4, 4, STATIC, auto=True), 1, 4, 1, id="autoOptimize does not change static"),
        pytest.param(demand(8, sizes=GivenSizes(tensor=2)), 2, 1, 4, id="engineArgs win over the strategy"),
        pytest.param(
            demand(8, auto=True, sizes=GivenSizes(pipeline=2)), 1, 2, 4, id="engineArgs win over autoOptimize"
        ),
        pytest.param(
            demand(8, auto=True, sizes=GivenSizes(data=2)), 4, 1, 2, id="with DP given autoOptimize chooses TP"
        ),
        pytest.param(demand(8, sizes=GivenSizes(data=2)), 1, 4, 2, id="with DP given the rest is a pipeline"),
        pytest.param(demand(8, sizes=GivenSizes(tensor=2, data=2)), 2, 2, 2, id="with TP and DP given PP fills"),
        pytest.param(demand(8, sizes=GivenSizes(pipeline=2, data=2)), 2, 2, 2, id="with PP and DP given TP fills"),
        pytest.param(demand(8, sizes=GivenSizes(prefill_context=2)), 1, 4, 1, id="prefill context takes its share"),
    ],
)
def test_gpus_are_used_as(asked: ParallelismRequest, tensor: int, pipeline: int, data: int) -> None:
    used = plan_parallelism(asked)
    assert isinstance(used, Parallelism)
    assert (used.tensor, used.pipeline, used.data) == (tensor, pipeline, data)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param(demand(4, 2, STATIC), "needs distributed.size 4, not 2", id="static needs a node for each GPU"),
        pytest.param(demand(5, 2), "use 4 or 6 GPUs", id="GPUs that nodes cannot share evenly"),
        pytest.param(demand(1, 2), "use 2 GPUs", id="fewer GPUs than nodes"),
        pytest.param(
            demand(4, sizes=GivenSizes(3)), "TP 3 = 3 cannot make totalGpus 4", id="a size that does not divide"
        ),
        pytest.param(demand(8, sizes=GivenSizes(2, 2, 1)), "= 4 cannot make totalGpus 8", id="all given and too few"),
        pytest.param(
            demand(6, 3, sizes=GivenSizes(data=2)),
            "DP 2 makes copies of 3 GPUs, which cannot be laid evenly on nodes of 2: use copies (TP x PP) of 2 or 6",
            id="copies that would lie unevenly",
        ),
        pytest.param(
            demand(12, 2, sizes=GivenSizes(4, 1)),
            "of 4 GPUs, which cannot be laid evenly on nodes of 6",
            id="TP and PP alone",
        ),
        pytest.param(
            demand(12, 2, sizes=GivenSizes(1, 2, prefill_context=2)),
            "PP 2 x PCP 2 makes copies of 4 GPUs",
            id="the context of a prompt is part of a copy",
        ),
        pytest.param(demand(2, sizes=GivenSizes(4)), "TP 4 = 4 cannot make totalGpus 2", id="more than there are"),
    ],
)
def test_a_contradiction_names_the_numbers(asked: ParallelismRequest, words: str) -> None:
    result = plan_parallelism(asked)
    assert isinstance(result, Impossible)
    assert words in result.message


sizes = st.none() | st.integers(1, 16)
demands = st.builds(
    ParallelismRequest,
    gpus=st.integers(1, 64),
    nodes=st.integers(1, 16),
    strategy=st.sampled_from(list(Strategy)),
    auto_optimize=st.booleans(),
    given=st.builds(GivenSizes, sizes, sizes, sizes, sizes),
    even_copies=st.booleans(),
)


@given(demands)
def test_a_layout_uses_exactly_the_gpus_asked_for_and_keeps_what_was_given(asked: ParallelismRequest) -> None:
    used = plan_parallelism(asked)
    if isinstance(used, Impossible):
        assert used.message
        return
    assert used.tensor * used.pipeline * used.data * (asked.given.prefill_context or 1) == asked.gpus
    assert asked.given.tensor in (None, used.tensor)
    assert asked.given.pipeline in (None, used.pipeline)
    assert asked.given.data in (None, used.data)


@given(demands)
def test_every_layout_is_one_that_vllm_starts(asked: ParallelismRequest) -> None:
    """As its ParallelConfig counts: node groups of copies must divide the nodes, and no copy may be left over."""
    used = plan_parallelism(asked)
    if isinstance(used, Impossible) or not asked.even_copies:
        return
    copy = used.tensor * used.pipeline * (asked.given.prefill_context or 1)
    copies_of_a_node = max(asked.gpus_per_node // copy, 1)
    assert used.data % copies_of_a_node == 0
    assert asked.nodes % (used.data // copies_of_a_node) == 0


free_demands = st.builds(
    ParallelismRequest,
    gpus=st.integers(1, 64),
    nodes=st.integers(1, 16),
    strategy=st.sampled_from(list(Strategy)),
    auto_optimize=st.just(True),
    given=st.just(GivenSizes()),
)


@given(free_demands)
def test_tensor_parallelism_of_auto_optimize_stays_inside_a_node(asked: ParallelismRequest) -> None:
    used = plan_parallelism(asked)
    if isinstance(used, Parallelism):
        assert asked.gpus_per_node % used.tensor == 0


def test_words_name_the_nodes_where_they_are_asked_for() -> None:
    assert str(Parallelism(8, 2)) == "TP 8 x PP 2 x DP 1"
    assert str(Parallelism(8, expert_parallel=True)) == "TP 8 x PP 1 x DP 1 with expert parallelism"
    assert Parallelism(8, 2).on(2, 8) == "TP 8 x PP 2 x DP 1 on 2 nodes with 8 GPUs each"
    assert Parallelism().on(1, 1) == "TP 1 x PP 1 x DP 1 on 1 node with 1 GPU each"
