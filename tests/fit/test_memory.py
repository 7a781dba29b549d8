"""Memory of one GPU: weights, KV cache, overhead, and the length that fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.fit.catalog import GIB
from app.fit.memory.estimate import Engine, MemoryEstimate, Overhead, estimate
from app.fit.memory.kv_cache import state_bytes, token_bytes
from app.fit.memory.layers import pipeline_stages
from app.fit.memory.precision import Precision, kv_bits, quantized_bits
from app.fit.memory.weights import stage_weights
from app.fit.model import LinearAttention, ModelFacts, Quantization
from app.fit.parallelism import Parallelism
from tests.fit.facts import accelerator, model

GB = 10**9
LLAMA_70B, LLAMA_405B = "meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-405B-Instruct"
QWEN_235B, DEEPSEEK, KIMI = "Qwen/Qwen3-235B-A22B", "deepseek-ai/DeepSeek-R1", "moonshotai/Kimi-K2-Instruct"
GEMMA, QWEN_NEXT = "google/gemma-3-27b-it", "Qwen/Qwen3-Next-80B-A3B-Instruct"


def memory(name: str, product: str, layout: Parallelism, **needs: object) -> MemoryEstimate:
    return estimate(model(name), accelerator(product), layout, Engine(**needs))  # type: ignore[arg-type]


def weights(facts: ModelFacts, layout: Parallelism, precision: Precision | None = None) -> list[int]:
    return [stage_weights(facts, stage, layout, precision) for stage in pipeline_stages(facts, layout.pipeline)]


@pytest.mark.parametrize(
    ("name", "layout", "precision", "gigabytes", "tolerance"),
    [
        pytest.param(LLAMA_70B, Parallelism(), None, 141.1, 0.001, id="70B on one GPU"),
        pytest.param(LLAMA_405B, Parallelism(8), None, 101.5, 0.001, id="405B over eight"),
        pytest.param(LLAMA_405B, Parallelism(4), Precision.FP8, 102.0, 0.01, id="405B to fp8 while loading, over four"),
        pytest.param(QWEN_235B, Parallelism(4), None, 117.5, 0.002, id="Qwen3-235B over four, routers whole"),
        pytest.param(DEEPSEEK, Parallelism(8), None, 86.0, 0.015, id="DeepSeek-R1 over eight, without its draft layer"),
        pytest.param(KIMI, Parallelism(8), None, 128.6, 0.015, id="Kimi-K2 over eight"),
    ],
)
def test_weights_of_one_gpu_are_as_published(
    name: str, layout: Parallelism, precision: Precision | None, gigabytes: float, tolerance: float
) -> None:
    assert weights(model(name), layout, precision) == [pytest.approx(gigabytes * GB, rel=tolerance)]


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        pytest.param(Quantization("fp8", 8, (128, 128)), 8 + 32 / 16384, id="fp8 blocks"),
        pytest.param(Quantization("fp8", 8), 8, id="fp8, one scale a tensor"),
        pytest.param(Quantization("mxfp4", 4, (32,)), 4.25, id="mxfp4"),
        pytest.param(Quantization("int4", 4, (128,)), 4.125, id="int4 in groups of 128"),
        pytest.param(Quantization("int4", 4, (32,)), 4.5, id="int4 in groups of 32"),
    ],
)
def test_bits_of_a_weight_include_its_scale(quantization: Quantization, bits: float) -> None:
    assert quantized_bits(quantization) == bits


def test_fp8_while_loading_leaves_the_vocabulary_in_16_bits() -> None:
    facts = model("meta-llama/Llama-3.1-8B-Instruct")
    (plain,), (fp8,) = weights(facts, Parallelism()), weights(facts, Parallelism(), Precision.FP8)
    kept = 2 * 2 * facts.vocab_size * facts.hidden_size + 2 * (2 * facts.layers + 1) * facts.hidden_size
    assert fp8 - kept == (plain - kept) / 2


def test_fp32_doubles_and_a_named_16_bits_changes_nothing() -> None:
    facts = model("meta-llama/Llama-3.1-8B-Instruct")
    (plain,), (fp32,) = weights(facts, Parallelism()), weights(facts, Parallelism(), Precision.FP32)
    assert fp32 == 2 * plain
    assert weights(facts, Parallelism(), Precision.FP16) == weights(facts, Parallelism(), Precision.INT4) == [plain]


def test_a_quantised_checkpoint_is_loaded_as_it_is() -> None:
    facts = model(DEEPSEEK)
    assert weights(facts, Parallelism(8), Precision.FP8) == weights(facts, Parallelism(8))


def test_attention_alone_stays_in_16_bits_where_it_is_left_out_of_the_quantisation() -> None:
    dense, whole = model(LLAMA_70B), Quantization("int4", 4, (128,))
    plain, full, spared, experts = (
        weights(replace(dense, quantization=it), Parallelism())[0]
        for it in (
            None,
            whole,
            replace(whole, plain_attention=True),
            replace(whole, experts_only=True),
        )
    )
    attention = 80 * (2 * 8192 * 8192 + 2 * 8192 * 1024)
    assert spared == full + attention * (16 - 4.125) / 8
    assert [full / GIB, spared / GIB] == pytest.approx([36.79, 53.49], abs=0.01)
    assert experts == plain


def test_down_projections_of_a_latent_are_whole_on_every_gpu() -> None:
    facts = replace(model(DEEPSEEK), weight_bytes=None)
    (one,), (eight,) = weights(facts, Parallelism()), weights(facts, Parallelism(8))
    down = facts.layers * facts.hidden_size * (1536 + 512 + 64)
    assert eight - one / 8 > 7 / 8 * down


def test_key_value_heads_are_repeated_beyond_their_number() -> None:
    facts = model(QWEN_235B)
    (four,), (sixteen,) = weights(facts, Parallelism(4)), weights(facts, Parallelism(16))
    one_head = 2 * 2 * facts.layers * facts.hidden_size * facts.head_size
    assert 4 * sixteen - four > 3 * one_head


def test_experts_are_shared_between_copies_and_attention_is_not() -> None:
    facts = replace(model(DEEPSEEK), weight_bytes=None)
    (one,), (copies,), (tensor,) = (
        weights(facts, layout) for layout in (Parallelism(), Parallelism(1, 1, 8), Parallelism(8))
    )
    assert tensor < copies < one
    assert copies == pytest.approx((671.03 - 653.91 + 653.91 / 8 + 1.85) * GB, rel=0.005)


def test_whole_experts_are_rounded_up() -> None:
    facts = model("mistralai/Mixtral-8x7B-Instruct-v0.1")
    (sliced,), (whole,) = (
        weights(facts, Parallelism(1, 1, 4)),
        weights(facts, Parallelism(1, 1, 4, expert_parallel=True)),
    )
    (three,) = weights(facts, Parallelism(1, 1, 3, expert_parallel=True))
    assert whole == sliced
    expert = 2 * facts.layers * 3 * facts.hidden_size * 14336
    assert three - whole == expert


def test_stages_hold_all_layers_and_both_ends() -> None:
    facts = model(LLAMA_70B)
    parts = weights(facts, Parallelism(1, 3))
    assert sum(parts) == weights(facts, Parallelism())[0]
    layer = 2 * (weights(facts, Parallelism())[0] - 4 * facts.vocab_size * facts.hidden_size) // 2 // facts.layers
    assert [round(part / layer) for part in (parts[0], parts[1])] == [28, 27]
    assert parts[2] > parts[1] > 0


def test_the_stages_before_the_last_take_what_is_left_over() -> None:
    counts = [sum(count for _, count in stage.layers) for stage in pipeline_stages(model(DEEPSEEK), 4)]
    assert counts == [15, 15, 16, 15]
    assert [sum(count for _, count in stage.layers) for stage in pipeline_stages(model(LLAMA_70B), 3)] == [27, 27, 26]


def test_tied_embeddings_stand_at_both_ends_of_a_pipeline() -> None:
    facts = model(GEMMA)
    assert (
        sum(weights(facts, Parallelism(1, 2))) - weights(facts, Parallelism())[0]
        == 2 * facts.vocab_size * facts.hidden_size
    )


def test_files_larger_than_the_formula_make_every_gpu_heavier() -> None:
    facts = model(GEMMA)
    heavier = replace(facts, weight_bytes=54_018_692_608 * 11 // 10)
    assert weights(heavier, Parallelism(4))[0] == pytest.approx(1.1 * weights(facts, Parallelism(4))[0], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 131_072),
        (LLAMA_70B, 327_680),
        (LLAMA_405B, 516_096),
        (QWEN_235B, 192_512),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 131_072),
        ("deepseek-ai/DeepSeek-V3", 70_272),
        (KIMI, 70_272),
    ],
)
def test_a_token_takes_in_all_layers_of(name: str, size: int) -> None:
    facts = model(name)
    assert facts.layers * token_bytes(facts, 1, 16) == size
    assert facts.layers * token_bytes(facts, 1, 8) == size // 2


def test_a_token_takes_less_on_each_gpu_until_heads_are_repeated() -> None:
    grouped, latent = model(QWEN_235B), model(DEEPSEEK)
    assert [token_bytes(grouped, tensor, 16) for tensor in (1, 2, 4, 8)] == [2048, 1024, 512, 512]
    assert token_bytes(latent, 1, 16) == token_bytes(latent, 8, 16) == 1152


@pytest.mark.parametrize(
    ("dtype", "precision", "bits"),
    [
        pytest.param("auto", None, 16, id="auto"),
        pytest.param("auto", Precision.FP8, 16, id="weights in fp8 do not change the cache"),
        pytest.param("auto", Precision.FP32, 32, id="auto with fp32"),
        pytest.param("fp8", None, 8, id="fp8"),
        pytest.param("fp8_e4m3", None, 8, id="fp8 by its full name"),
        pytest.param("bfloat16", None, 16, id="bfloat16"),
        pytest.param("turboquant_k3v4_nc", None, 16, id="what is not known counts as 16"),
    ],
)
def test_a_cached_value_takes(dtype: str, precision: Precision | None, bits: int) -> None:
    assert kv_bits(dtype, precision) == bits


def test_a_state_takes_a_fixed_size() -> None:
    linear = model(QWEN_NEXT).linear
    assert isinstance(linear, LinearAttention)
    assert state_bytes(linear, 1) == 1_097_728
    assert state_bytes(linear, 4) == 1_097_728 // 4


def test_linear_layers_cost_three_states_and_nothing_for_length() -> None:
    short = memory(QWEN_NEXT, "MI300X", Parallelism(), max_model_len=16)
    long = memory(QWEN_NEXT, "MI300X", Parallelism(), max_model_len=1600)
    states = 3 * 36 * 1_097_728
    assert short.kv_per_sequence == states + 16 * 24_576
    assert long.kv_per_sequence == states + 1600 * 24_576


def test_sliding_layers_stop_growing_at_the_window_and_what_is_in_flight() -> None:
    lengths = (16_384, 65_536, 131_072)
    sizes = [
        memory(GEMMA, "MI300X", Parallelism(), max_model_len=length, max_num_batched_tokens=1024).kv_per_sequence
        for length in lengths
    ]
    sliding = 52 * 8192 * ((1023 + 2 * 1024 + 15) // 16 + 1) * 16
    assert sizes == [length * 81_920 + sliding for length in lengths]


def test_every_stage_of_a_pipeline_has_a_batch_in_flight() -> None:
    """62 stages of one layer: those with a sliding layer hold its window and 62 batches of 1,024, and a block more."""
    length = 1023 + 62 * 1024
    found = memory(GEMMA, "MI300X", Parallelism(1, 62), max_model_len=length, max_num_batched_tokens=1024)
    assert found.kv_per_sequence == (-(-length // 16) + 1) * 16 * 8192


def test_short_sequences_gain_nothing_from_sliding_layers() -> None:
    short = memory(GEMMA, "MI300X", Parallelism(), max_model_len=16_384)
    assert short.kv_per_sequence == 16_384 * 507_904 + 52 * 8192 * 16


def test_a_70b_model_leaves_three_long_sequences_on_one_mi300x() -> None:
    found = memory(LLAMA_70B, "MI300X", Parallelism(), max_model_len=32_768, gpu_memory_utilization=0.9)
    assert found.fits
    assert found.sequences == 3
    assert found.tokens == found.kv_available // 327_680
    assert found.kv_per_sequence == 32_768 * 327_680
    assert found.usable == int(206_141_652_992 * 0.9)
    assert found.explanation == (
        "weights 131.4 GiB + overhead 7.7 GiB of 172.8 GiB usable leave 33.7 GiB for the KV cache: "
        "3 sequences of 32,768 tokens"
    )


def test_a_length_that_was_given_must_fit_whole() -> None:
    found = memory(LLAMA_70B, "MI300X", Parallelism(), max_model_len=131_072)
    assert not found.fits
    assert found.length == 131_072
    assert found.explanation.endswith(
        "leave 37.5 GiB for the KV cache, and one sequence of 131,072 tokens takes 40.0 GiB"
    )
    larger = replace(accelerator("MI300X"), reported_bytes=found.needed + GIB)
    assert estimate(model(LLAMA_70B), larger, Parallelism(), Engine(max_model_len=131_072)).fits


@pytest.mark.parametrize(
    ("name", "product", "layout", "length"),
    [
        pytest.param(LLAMA_70B, "MI300X", Parallelism(), 122_880, id="the largest multiple of 1,024 that fits"),
        pytest.param(LLAMA_70B, "MI300X", Parallelism(2), 131_072, id="the model's own when it fits"),
        pytest.param("Qwen/Qwen3-8B", "MI300X", Parallelism(), 40_960, id="never more than the model's own"),
        pytest.param(LLAMA_70B, "MI210", Parallelism(), 8192, id="the shortest when nothing fits"),
        pytest.param(
            "mistralai/Mistral-Large-Instruct-2407", "MI300X", Parallelism(4), 8192, id="own maximum not known"
        ),
    ],
)
def test_the_length_chosen_is(name: str, product: str, layout: Parallelism, length: int) -> None:
    assert memory(name, product, layout).length == length


def test_the_next_longer_length_would_not_have_fitted() -> None:
    chosen = memory(LLAMA_70B, "MI300X", Parallelism())
    assert chosen.fits
    assert not memory(LLAMA_70B, "MI300X", Parallelism(), max_model_len=chosen.length + 1024).fits


def test_a_model_made_for_short_sequences_need_not_hold_longer_ones() -> None:
    facts = replace(model("meta-llama/Llama-3.1-8B-Instruct"), max_position=4096)
    assert estimate(facts, accelerator("MI300X"), Parallelism(), Engine()).length == 4096


def test_weights_that_exceed_what_is_usable_are_said_to() -> None:
    found = memory(LLAMA_70B, "MI210", Parallelism())
    assert found.kv_available == found.sequences == found.tokens == 0
    assert found.explanation == ("weights 131.4 GiB + overhead 4.1 GiB exceed the 58.8 GiB that are usable of 63.9 GiB")


def test_the_stage_with_the_least_room_decides() -> None:
    facts = model(LLAMA_70B)
    found = estimate(facts, accelerator("MI300X"), Parallelism(1, 3), Engine(max_model_len=32_768))
    assert found.weights == weights(facts, Parallelism(1, 3))[0]
    assert found.kv_per_sequence == 32_768 * 27 * 4096


@pytest.mark.parametrize(
    ("overhead", "capacity", "size"),
    [
        pytest.param(Overhead(), 64 * GIB, 4 * GIB, id="at least 4 GiB"),
        pytest.param(Overhead(), 200 * GIB, 8 * GIB, id="4 % of a large memory"),
        pytest.param(Overhead(context_bytes=20 * GIB), 200 * GIB, 22 * GIB + 2 * 8192, id="the sum of its parts"),
        pytest.param(Overhead(floor_bytes=0, memory_fraction=0.5), 64 * GIB, 32 * GIB, id="as settings say"),
    ],
)
def test_overhead_is(overhead: Overhead, capacity: int, size: int) -> None:
    facts = replace(model("Qwen/Qwen3-8B"), hidden_size=1, vocab_size=1)
    tokens = (8192 - 1024) // 10
    assert overhead.on(capacity, facts, tokens) == pytest.approx(size, abs=2 * 8192)


def test_a_wide_model_needs_more_for_activations() -> None:
    wide = memory(LLAMA_405B, "MI300X", Parallelism(8))
    assert wide.overhead == 2 * (10 * 16_384 * 16_384 + 1024 * 128_256) + 3 * GIB // 2 + 2 * GIB


@pytest.mark.parametrize(
    ("product", "batch"),
    [("MI300X", 16_384), ("MI300A", 8192), ("MI210", 2048)],
)
def test_the_tokens_of_a_batch_follow_the_memory(product: str, batch: int) -> None:
    assert memory(GEMMA, product, Parallelism(2)) == memory(
        GEMMA, product, Parallelism(2), max_num_batched_tokens=batch
    )
