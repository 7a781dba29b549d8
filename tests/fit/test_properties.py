"""What holds for every model, GPU and request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.fit.catalog import ACCELERATORS, GIB, Accelerator
from app.fit.fit import fit, fit_products
from app.fit.memory.estimate import Engine, estimate
from app.fit.memory.layers import pipeline_stages
from app.fit.memory.precision import Precision
from app.fit.memory.weights import stage_weights
from app.fit.model import (
    Experts,
    LatentAttention,
    LinearAttention,
    ModelFacts,
    Quantization,
    SlidingWindow,
    parse_facts,
    to_json,
)
from app.fit.parallelism import GivenSizes, Parallelism, ParallelismRequest, Strategy
from app.fit.request import FitRequest, Fits
from tests.fit.facts import certain_refusal, find_refusal

powers = st.sampled_from([1, 2, 4, 8, 16])


@st.composite
def model_facts(draw: Any) -> ModelFacts:
    """Models of every kind: latent, sliding or linear attention, experts, quantised or not, small and large."""
    layers = draw(st.integers(1, 24))
    kv_heads = draw(powers)
    special = draw(st.integers(0, layers))
    kind = draw(st.sampled_from(["full", "latent", "sliding", "linear"]))
    experts = st.builds(
        Experts,
        count=st.integers(1, 64),
        intermediate_size=st.sampled_from([384, 768, 2048]),
        shared_size=st.sampled_from([0, 1024]),
        first_dense=st.integers(0, layers),
        every=st.integers(1, 2),
    )
    quantization = st.builds(
        Quantization,
        format=st.sampled_from(["fp8", "mxfp4"]),
        bits=st.sampled_from([4, 8]),
        block=st.sampled_from([(), (32,), (128, 128)]),
        experts_only=st.booleans(),
        plain_attention=st.booleans(),
    )
    return ModelFacts(
        architecture=draw(st.sampled_from(["LlamaForCausalLM", "Zamba2ForCausalLM"])),
        layers=layers,
        hidden_size=draw(st.sampled_from([1024, 4096, 16384])),
        heads=kv_heads * draw(st.sampled_from([1, 2, 5])),
        kv_heads=kv_heads,
        intermediate_size=draw(st.sampled_from([2048, 14336])),
        vocab_size=32_000,
        head_dim=128,
        max_position=draw(st.none() | st.integers(1, 300_000)),
        tied_embeddings=draw(st.booleans()),
        latent=LatentAttention(512, 128, 64, 128) if kind == "latent" else None,
        sliding=SlidingWindow(special, 1024) if kind == "sliding" and special else None,
        linear=LinearAttention(special, 16, 32, 128, 128, 4) if kind == "linear" and special else None,
        experts=draw(st.none() | experts),
        draft_layers=draw(st.integers(0, 1)),
        quantization=draw(st.none() | quantization),
        weight_bytes=draw(st.none() | st.integers(10**9, 10**12)),
    )


needs = st.builds(
    Engine,
    precision=st.none() | st.sampled_from(list(Precision)),
    max_model_len=st.none() | st.integers(1, 200_000),
    kv_cache_dtype=st.sampled_from(["auto", "fp8"]),
    gpu_memory_utilization=st.sampled_from([0.5, 0.9, 0.92]),
    max_num_batched_tokens=st.sampled_from([1024, 16_384]),
    expert_parallel=st.none() | st.booleans(),
)
sizes = st.none() | st.sampled_from([1, 2, 4])
demands = st.builds(
    ParallelismRequest,
    gpus=st.integers(1, 32),
    nodes=st.sampled_from([1, 2, 3, 4]),
    strategy=st.sampled_from(list(Strategy)),
    auto_optimize=st.booleans(),
    given=st.just(GivenSizes()) | st.builds(GivenSizes, sizes, sizes, sizes, sizes),
)
accelerators = st.sampled_from(ACCELERATORS)
requests = st.builds(FitRequest, model_facts(), accelerators, demands, needs)


@given(requests)
def test_a_choice_uses_exactly_the_gpus_asked_for_and_is_legal_and_fits(request: FitRequest) -> None:
    answer = fit(request)
    assert request.model
    if not isinstance(answer, Fits):
        assert answer.reason
        return
    chosen, asked = answer.parallelism, request.parallelism.given
    assert chosen.copy * chosen.data * (asked.prefill_context or 1) == request.parallelism.gpus
    assert asked.tensor in (None, chosen.tensor)
    assert asked.pipeline in (None, chosen.pipeline)
    assert asked.data in (None, chosen.data)
    assert request.engine.expert_parallel in (None, chosen.expert_parallel)
    refusal = find_refusal if request.parallelism.leaves_choice else certain_refusal
    assert refusal(request.model, chosen) is None
    assert answer.memory.fits
    assert answer.memory == estimate(request.model, request.gpu, chosen, request.engine)


@given(requests)
def test_the_same_request_has_the_same_answer(request: FitRequest) -> None:
    assert request.model
    assert fit(request) == fit(replace(request, model=replace(request.model)))


@given(requests)
def test_what_is_chosen_freely_keeps_tp_inside_a_node_and_an_island_where_that_is_asked(request: FitRequest) -> None:
    answer = fit(request)
    if isinstance(answer, Fits) and request.parallelism.leaves_choice:
        assert request.parallelism.gpus_per_node % answer.parallelism.tensor == 0
        if request.parallelism.strategy is Strategy.TOPOLOGY_AWARE:
            assert answer.parallelism.tensor <= request.gpu.island
        looked_at = [answer.parallelism, *(item.parallelism for item in answer.alternatives)]
        assert len(set(looked_at)) == len(looked_at)


@given(requests, st.integers(0, 256 * GIB))
def test_more_memory_never_turns_fit_into_no_fit(request: FitRequest, more: int) -> None:
    """For a given size of a batch: vLLM's default grows with the memory."""
    larger = replace(request.gpu, reported_bytes=request.gpu.memory_bytes + more)
    if isinstance(fit(request), Fits):
        assert isinstance(fit(replace(request, gpu=larger)), Fits)


@given(requests, st.integers(1, 100_000), st.integers(0, 100_000))
def test_a_longer_sequence_never_fits_more_often(request: FitRequest, length: int, more: int) -> None:
    assert request.model
    short, long = (
        estimate(request.model, request.gpu, Parallelism(2), replace(request.engine, max_model_len=tokens)).sequences
        for tokens in (length, length + more)
    )
    assert long <= short


@given(model_facts(), accelerators, needs)
def test_the_length_chosen_fits_whole_and_is_never_beyond_the_model(
    facts: ModelFacts, accelerator: Accelerator, asked: Engine
) -> None:
    found = estimate(facts, accelerator, Parallelism(), replace(asked, max_model_len=None))
    assert found.length <= (facts.max_position or 8192)
    assert found.length >= min(8192, facts.max_position or 8192)
    if found.length > 8192:
        assert found.fits


@given(model_facts(), st.none() | st.sampled_from(list(Precision)), powers, st.booleans())
def test_weights_of_a_gpu_never_grow_with_tensor_parallelism(
    facts: ModelFacts, precision: Precision | None, tensor: int, whole: bool
) -> None:
    (stage,) = pipeline_stages(facts, 1)
    one, two = (
        stage_weights(facts, stage, Parallelism(size, expert_parallel=whole), precision)
        for size in (tensor, 2 * tensor)
    )
    assert 0 < two <= one


@given(model_facts(), st.integers(1, 24))
def test_stages_share_out_every_layer_evenly(facts: ModelFacts, pipeline: int) -> None:
    if pipeline <= facts.layers:
        counts = [sum(count for _, count in stage.layers) for stage in pipeline_stages(facts, pipeline)]
        assert sum(counts) == facts.layers
        assert max(counts) - min(counts) <= 1
        assert counts[-1] == min(counts)


@given(model_facts())
def test_facts_survive_the_way_to_json_and_back(facts: ModelFacts) -> None:
    assert parse_facts(to_json(facts)) == facts


@given(model_facts(), demands, needs)
def test_what_fits_one_product_does_not_depend_on_the_others(
    facts: ModelFacts, demand: ParallelismRequest, asked: Engine
) -> None:
    together = fit_products(facts, demand, asked, ACCELERATORS)
    alone = tuple(answer for item in ACCELERATORS for answer in fit_products(facts, demand, asked, [item]))
    assert together == alone
    assert all(answer.max_model_len for answer in together if isinstance(answer, Fits) and facts.max_position)
