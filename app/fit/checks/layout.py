"""Which layouts vLLM accepts for a model, each refusal with its reason.

    heads            heads % TP = 0; key-value heads k: k % TP = 0 up to TP = k, TP % k = 0 beyond (they are repeated)
    widths           what is cut by TP must divide by it: MLP, shared experts, linear heads; experts by TP x DP, unless
                     expert parallelism keeps them whole, and then there are at least TP x DP of them
    block FP8        with one scale for each 128 x 128 block, every slice must be a multiple of 128
    stages           PP <= layers, and the architecture implements SupportsPP

Experts whose whole width is no multiple of 128 were stored with scales for part of a block, so vLLM can read such ones
and no layout is the cause: that refusal is not certain. Such a layout is never chosen where there is a choice, and let
through where the spec fixes it. The vocabulary is padded and needs no rule.
Source: vLLM 0.33, model configuration and layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from app.fit.memory.layers import layer_kinds
from app.fit.model import ModelFacts
from app.fit.parallelism import Parallelism
from app.policy import Chain

_HINT = "; expert parallelism keeps them whole"


class Layout(NamedTuple):
    """A model laid over the GPUs of one group."""

    model: ModelFacts
    parallelism: Parallelism


def heads_divide(layout: Layout) -> str | None:
    model, sizes = layout
    if model.heads % sizes.tensor == 0:
        return None
    return f"{model.heads} attention heads cannot be divided by TP {sizes.tensor}"


def kv_heads_divide(layout: Layout) -> str | None:
    """A latent is whole on every GPU, so it sets no bound."""
    model, sizes = layout
    smaller, larger = sorted((model.kv_heads, sizes.tensor))
    if model.latent or larger % smaller == 0:
        return None
    verb = "divided by" if sizes.tensor < model.kv_heads else "repeated evenly over"
    return f"{model.kv_heads} key-value heads cannot be {verb} TP {sizes.tensor}"


def linear_heads_divide(layout: Layout) -> str | None:
    model, sizes = layout
    linear = model.linear
    for heads in (linear.key_heads, linear.value_heads) if linear else ():
        if heads % sizes.tensor:
            return f"{heads} heads of linear attention cannot be divided by TP {sizes.tensor}"
    return None


def widths_divide(layout: Layout) -> str | None:
    model, sizes = layout
    for name, width in _widths(model):
        if width % sizes.tensor:
            return f"{name} {width:,} cannot be divided by TP {sizes.tensor}"
    return None


def experts_divide(layout: Layout) -> str | None:
    model, sizes = layout
    if not model.experts or sizes.expert_parallel:
        return None
    width, ranks = model.experts.intermediate_size, sizes.expert_ranks
    if width % ranks == 0:
        return None
    return f"experts of width {width:,} cannot be divided over TP x DP = {ranks} GPUs{_HINT}"


def experts_stay_whole(layout: Layout) -> str | None:
    model, sizes = layout
    if not sizes.expert_parallel:
        return None
    if not model.experts:
        return "expert parallelism is for models with experts; this one has none"
    if model.experts.count >= sizes.expert_ranks:
        return None
    return f"{model.experts.count} experts are fewer than TP x DP = {sizes.expert_ranks} GPUs"


def blocks_divide(layout: Layout) -> str | None:
    model, sizes = layout
    block = _block(model)
    quantization = model.quantization
    if quantization is None or quantization.experts_only:
        return None
    attention = () if quantization.plain_attention else _attention_widths(model, sizes)
    for name, width in (*_widths(model), *attention):
        if block and width // sizes.tensor % block:
            return (
                f"{name} {width:,} / TP {sizes.tensor} = {width // sizes.tensor:,} is no multiple of {block}, "
                f"the block that shares an FP8 scale"
            )
    return None


def expert_blocks_divide(layout: Layout) -> str | None:
    block, experts = _block(layout.model), layout.model.experts
    return _cut_blocks(layout) if block and experts and experts.intermediate_size % block == 0 else None


def partial_expert_blocks_divide(layout: Layout) -> str | None:
    """Of experts that were stored with scales for part of a block."""
    block, experts = _block(layout.model), layout.model.experts
    return _cut_blocks(layout) if block and experts and experts.intermediate_size % block else None


def stages_have_layers(layout: Layout) -> str | None:
    model, sizes = layout
    if sizes.pipeline <= model.layers:
        return None
    return f"PP {sizes.pipeline} makes more stages than the model has layers ({model.layers})"


def stages_are_supported(layout: Layout) -> str | None:
    model, sizes = layout
    if sizes.pipeline == 1 or model.supports_pipeline:
        return None
    return f"vLLM cannot split {model.architecture} into stages (PP {sizes.pipeline})"


CERTAIN: Chain[Layout, str] = Chain(
    stages_are_supported,
    stages_have_layers,
    heads_divide,
    kv_heads_divide,
    linear_heads_divide,
    widths_divide,
    experts_divide,
    experts_stay_whole,
    blocks_divide,
    expert_blocks_divide,
)
"""What vLLM refuses."""
DOUBTFUL: Chain[Layout, str] = Chain(partial_expert_blocks_divide)
"""What a version or kernel of vLLM may accept."""
LEGALITY: Chain[Layout, str] = Chain(*CERTAIN.checks, *DOUBTFUL.checks)


def _cut_blocks(layout: Layout) -> str | None:
    model, sizes = layout
    block, experts = _block(model), model.experts
    if experts is None or sizes.expert_parallel:
        return None
    piece = experts.intermediate_size // sizes.expert_ranks
    if piece % block == 0:
        return None
    return (
        f"experts of width {experts.intermediate_size:,} over TP x DP = {sizes.expert_ranks} GPUs leave "
        f"{piece:,}, no multiple of {block}, the block that shares an FP8 scale{_HINT}"
    )


def _block(model: ModelFacts) -> int:
    """Side of the square block that shares an FP8 scale, 0 when there is none."""
    quantization = model.quantization
    square = quantization and quantization.format == "fp8" and len(quantization.block) == 2
    return quantization.block[0] if quantization and square else 0


def _widths(model: ModelFacts) -> Iterator[tuple[str, int]]:
    """What tensor parallelism cuts, beside attention heads and routed experts."""
    if any(not kind.experts for kind in layer_kinds(model)):
        yield "MLP width", model.intermediate_size
    if model.experts and model.experts.shared_size:
        yield "shared experts' width", model.experts.shared_size


def _attention_widths(model: ModelFacts, sizes: Parallelism) -> Iterator[tuple[str, int]]:
    if model.latent:
        head = model.latent.nope_dim + model.latent.rope_dim
        yield "queries' width", model.heads * head
        yield "latent's width", model.heads * (model.latent.nope_dim + model.latent.value_dim)
        yield "attention output's width", model.heads * model.latent.value_dim
        return
    yield "queries' width", model.heads * model.head_size
    yield "keys' width", max(model.kv_heads, sizes.tensor) * model.head_size
