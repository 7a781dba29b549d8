"""Which layouts are legal, and the words of those that are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.fit.checks.layout import CERTAIN, DOUBTFUL, LEGALITY
from app.fit.model import Quantization
from app.fit.parallelism import Parallelism
from tests.fit.facts import certain_refusal, find_refusal, model

SIZES = (1, 2, 4, 8, 16)
BLOCKS = Quantization("fp8", 8, (128, 128))
QWEN_235B, QWEN_30B, GLM = "Qwen/Qwen3-235B-A22B", "Qwen/Qwen3-30B-A3B", "zai-org/GLM-4.5"
LLAMA_8B, DEEPSEEK = "meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-V3"
BY_HEADS = {
    "meta-llama/Llama-3.1-8B-Instruct": [1, 2, 4, 8, 16],
    "meta-llama/Llama-3.1-70B-Instruct": [1, 2, 4, 8, 16],
    "meta-llama/Llama-3.3-70B-Instruct": [1, 2, 4, 8, 16],
    "meta-llama/Llama-3.1-405B-Instruct": [1, 2, 4, 8, 16],
    "Qwen/Qwen2.5-7B-Instruct": [1, 2, 4],
    "Qwen/Qwen2.5-32B-Instruct": [1, 2, 4, 8],
    "Qwen/Qwen2.5-72B-Instruct": [1, 2, 4, 8, 16],
    "Qwen/Qwen3-8B": [1, 2, 4, 8, 16],
    "Qwen/Qwen3-14B": [1, 2, 4, 8],
    "Qwen/Qwen3-32B": [1, 2, 4, 8, 16],
    "Qwen/Qwen3-30B-A3B": [1, 2, 4, 8, 16],
    "Qwen/Qwen3-235B-A22B": [1, 2, 4, 8, 16],
    "Qwen/Qwen3-235B-A22B-Instruct-2507": [1, 2, 4, 8, 16],
    "mistralai/Mixtral-8x7B-Instruct-v0.1": [1, 2, 4, 8, 16],
    "mistralai/Mixtral-8x22B-Instruct-v0.1": [1, 2, 4, 8, 16],
    "mistralai/Mistral-Large-Instruct-2407": [1, 2, 4, 8, 16],
    "mistralai/Mistral-7B-Instruct-v0.3": [1, 2, 4, 8, 16],
    "mistralai/Mistral-Small-24B-Base-2501": [1, 2, 4, 8, 16],
    "microsoft/phi-4": [1, 2],
    "google/gemma-3-27b-it": [1, 2, 4, 8, 16],
    "google/gemma-3-12b-it": [1, 2, 4, 8, 16],
    "openai/gpt-oss-120b": [1, 2, 4, 8, 16],
    "openai/gpt-oss-20b": [1, 2, 4, 8, 16],
    "deepseek-ai/DeepSeek-V3": [1, 2, 4, 8, 16],
    "deepseek-ai/DeepSeek-R1": [1, 2, 4, 8, 16],
    "moonshotai/Kimi-K2-Instruct": [1, 2, 4, 8, 16],
    "zai-org/GLM-4.5": [1, 2, 4, 8, 16],
    "zai-org/GLM-4.5-Air": [1, 2, 4, 8, 16],
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": [1, 2, 4, 8],
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": [1, 2, 4, 8],
    "Qwen/Qwen3-Next-80B-A3B-Instruct": [1, 2, 4, 8, 16],
}


@pytest.mark.parametrize(("name", "legal"), BY_HEADS.items())
def test_heads_allow_tensor_parallelism_of(name: str, legal: list[int]) -> None:
    assert [size for size in SIZES if find_refusal(model(name), Parallelism(size)) is None] == legal


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        pytest.param(QWEN_235B, [1, 2, 4], id="experts of 1536"),
        pytest.param(QWEN_30B, [1, 2], id="experts of 768"),
        pytest.param(GLM, [1, 2, 4], id="experts of 1536 after dense layers"),
        pytest.param(DEEPSEEK, [1, 2, 4, 8, 16], id="experts of 2048 with a latent"),
        pytest.param(LLAMA_8B, [1, 2, 4, 8, 16], id="dense"),
        pytest.param("Qwen/Qwen2.5-7B-Instruct", [1, 2, 4], id="dense, MLP of 18,944 = 148 blocks"),
        pytest.param("Qwen/Qwen2.5-72B-Instruct", [1], id="dense, MLP of 29,568 = 231 blocks"),
    ],
)
def test_blocks_of_128_allow_tensor_parallelism_of(name: str, legal: list[int]) -> None:
    facts = replace(model(name), quantization=BLOCKS)
    assert [size for size in SIZES if find_refusal(facts, Parallelism(size)) is None] == legal


def test_whole_experts_lift_the_limit_of_their_blocks() -> None:
    facts = replace(model(QWEN_235B), quantization=BLOCKS)
    assert find_refusal(facts, Parallelism(8, expert_parallel=True)) is None


def test_only_blocks_that_no_layout_cuts_may_be_let_through() -> None:
    experts, dense = (replace(model(name), quantization=BLOCKS) for name in (QWEN_235B, "Qwen/Qwen2.5-72B-Instruct"))
    assert certain_refusal(experts, Parallelism(8)) is not None
    assert certain_refusal(experts, Parallelism(8, expert_parallel=True)) is None
    assert certain_refusal(dense, Parallelism(2)) is not None
    odd = replace(model("openai/gpt-oss-20b"), quantization=replace(BLOCKS, experts_only=True))
    assert certain_refusal(odd, Parallelism(2)) is None
    assert find_refusal(odd, Parallelism(2)) is not None


def test_blocks_set_no_limit_to_attention_that_is_left_as_it_is() -> None:
    facts = replace(model("Qwen/Qwen3-8B"), heads=24, kv_heads=24, head_dim=16, quantization=BLOCKS)
    assert find_refusal(facts, Parallelism(2)) is not None
    spared = replace(facts, quantization=replace(BLOCKS, plain_attention=True))
    assert find_refusal(spared, Parallelism(2)) is None


def test_blocks_of_experts_set_no_limit_to_what_is_not_quantised() -> None:
    facts = replace(model("Qwen/Qwen2.5-72B-Instruct"), quantization=replace(BLOCKS, experts_only=True))
    assert find_refusal(facts, Parallelism(8)) is None


def test_scales_of_groups_and_of_tensors_set_no_limit() -> None:
    for quantization in (Quantization("fp8", 8), Quantization("mxfp8", 8, (32,)), Quantization("int4", 4, (128,))):
        assert find_refusal(replace(model(QWEN_235B), quantization=quantization), Parallelism(8)) is None


@pytest.mark.parametrize(
    ("name", "layout", "words"),
    [
        pytest.param(LLAMA_8B, Parallelism(3), "32 attention heads cannot be divided by TP 3", id="heads"),
        pytest.param("microsoft/phi-4", Parallelism(4), "10 key-value heads cannot be divided by TP 4", id="few heads"),
        pytest.param("microsoft/phi-4", Parallelism(40), None, id="key-value heads repeated evenly"),
        pytest.param(
            "mistralai/Mistral-Large-Instruct-2407",
            Parallelism(12),
            "8 key-value heads cannot be repeated evenly over TP 12",
            id="key-value heads repeated unevenly",
        ),
        pytest.param(
            LLAMA_8B, Parallelism(1, 33), "PP 33 makes more stages than the model has layers (32)", id="stages"
        ),
        pytest.param(LLAMA_8B, Parallelism(1, 32), None, id="a stage for each layer"),
        pytest.param(LLAMA_8B, Parallelism(expert_parallel=True), "for models with experts", id="no experts"),
        pytest.param(
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
            Parallelism(4, 1, 4, expert_parallel=True),
            "8 experts are fewer than TP x DP = 16 GPUs",
            id="fewer experts than GPUs",
        ),
        pytest.param(
            "Qwen/Qwen3-Next-80B-A3B-Instruct",
            Parallelism(1, 1, 3),
            "experts of width 512 cannot be divided over",
            id="slices",
        ),
        pytest.param("openai/gpt-oss-120b", Parallelism(64), None, id="TP as many as heads"),
    ],
)
def test_a_layout_meets(name: str, layout: Parallelism, words: str | None) -> None:
    refusal = find_refusal(model(name), layout)
    assert (refusal is None) if words is None else (refusal is not None and words in refusal)


def test_heads_of_linear_attention_must_divide() -> None:
    facts = model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    assert facts.linear is not None
    odd = replace(facts, linear=replace(facts.linear, key_heads=6))
    refusal = find_refusal(odd, Parallelism(4))
    assert refusal is not None
    assert refusal == "6 heads of linear attention cannot be divided by TP 4"


def test_the_width_of_an_mlp_must_divide() -> None:
    refusal = find_refusal(replace(model(LLAMA_8B), intermediate_size=14_338), Parallelism(4))
    assert refusal is not None
    assert refusal == "MLP width 14,338 cannot be divided by TP 4"


def test_the_width_of_shared_experts_must_divide() -> None:
    facts = model(GLM)
    assert facts.experts is not None
    refusal = find_refusal(replace(facts, experts=replace(facts.experts, shared_size=1538)), Parallelism(4))
    assert refusal is not None
    assert refusal == "shared experts' width 1,538 cannot be divided by TP 4"


def test_an_architecture_without_stages_takes_one() -> None:
    facts = replace(model(LLAMA_8B), architecture="Zamba2ForCausalLM")
    refusal = find_refusal(facts, Parallelism(1, 2))
    assert refusal is not None
    assert refusal == "vLLM cannot split Zamba2ForCausalLM into stages (PP 2)"
    assert find_refusal(facts, Parallelism(2)) is None


def test_checks_come_in_this_order() -> None:
    """What no other size of the same kind can cure stands first, what may be let through last."""
    assert [check.__name__ for check in LEGALITY.checks] == [
        "stages_are_supported",
        "stages_have_layers",
        "heads_divide",
        "kv_heads_divide",
        "linear_heads_divide",
        "widths_divide",
        "experts_divide",
        "experts_stay_whole",
        "blocks_divide",
        "expert_blocks_divide",
        "partial_expert_blocks_divide",
    ]
    assert LEGALITY.checks == CERTAIN.checks + DOUBTFUL.checks
