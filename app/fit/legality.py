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

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.fit.layout import Layout
from app.fit.models import ModelFacts
from app.fit.parameters import layer_kinds


@dataclass(frozen=True)
class Obstacle:
    """Why a layout is refused; `certain` is False where a vLLM version or kernel may accept it."""

    message: str
    certain: bool = True


Check = Callable[[ModelFacts, Layout], Obstacle | None]


def find_obstacle(model: ModelFacts, layout: Layout, tolerant: bool = False) -> Obstacle | None:
    """The first reason against a layout, None when it is legal; `tolerant` passes over what is not certain."""
    found = (check(model, layout) for check in CHECKS)
    return next((obstacle for obstacle in found if obstacle and not (tolerant and not obstacle.certain)), None)


def heads_divide(model: ModelFacts, layout: Layout) -> Obstacle | None:
    if model.heads % layout.tensor == 0:
        return None
    return Obstacle(f"{model.heads} attention heads cannot be divided by TP {layout.tensor}")


def kv_heads_divide(model: ModelFacts, layout: Layout) -> Obstacle | None:
    """A latent is whole on every GPU, so it sets no bound."""
    smaller, larger = sorted((model.kv_heads, layout.tensor))
    if model.latent or larger % smaller == 0:
        return None
    verb = "divided by" if layout.tensor < model.kv_heads else "repeated evenly over"
    return Obstacle(f"{model.kv_heads} key-value heads cannot be {verb} TP {layout.tensor}")


def linear_heads_divide(model: ModelFacts, layout: Layout) -> Obstacle | None:
    linear = model.linear
    for heads in (linear.key_heads, linear.value_heads) if linear else ():
        if heads % layout.tensor:
            return Obstacle(f"{heads} heads of linear attention cannot be divided by TP {layout.tensor}")
    return None


def widths_divide(model: ModelFacts, layout: Layout) -> Obstacle | None:
    for name, width in _widths(model):
        if width % layout.tensor:
            return Obstacle(f"{name} {width:,} cannot be divided by TP {layout.tensor}")
    return None


def experts_divide(model: ModelFacts, layout: Layout) -> Obstacle | None:
    if not model.experts or layout.expert_parallel:
        return None
    width, ranks = model.experts.intermediate_size, layout.expert_ranks
    if width % ranks == 0:
        return None
    return Obstacle(f"experts of width {width:,} cannot be divided over TP x DP = {ranks} GPUs{_HINT}")


def experts_stay_whole(model: ModelFacts, layout: Layout) -> Obstacle | None:
    if not layout.expert_parallel:
        return None
    if not model.experts:
        return Obstacle("expert parallelism is for models with experts; this one has none")
    if model.experts.count >= layout.expert_ranks:
        return None
    return Obstacle(f"{model.experts.count} experts are fewer than TP x DP = {layout.expert_ranks} GPUs")


def blocks_divide(model: ModelFacts, layout: Layout) -> Obstacle | None:
    block = _block(model)
    quantization = model.quantization
    if quantization is None or quantization.experts_only:
        return None
    attention = () if quantization.plain_attention else _attention_widths(model, layout)
    for name, width in (*_widths(model), *attention):
        if block and width // layout.tensor % block:
            return Obstacle(
                f"{name} {width:,} / TP {layout.tensor} = {width // layout.tensor:,} is no multiple of {block}, "
                f"the block that shares an FP8 scale"
            )
    return None


def expert_blocks_divide(model: ModelFacts, layout: Layout) -> Obstacle | None:
    block = _block(model)
    if not model.experts or not block or layout.expert_parallel:
        return None
    piece = model.experts.intermediate_size // layout.expert_ranks
    if piece % block == 0:
        return None
    return Obstacle(
        f"experts of width {model.experts.intermediate_size:,} over TP x DP = {layout.expert_ranks} GPUs leave "
        f"{piece:,}, no multiple of {block}, the block that shares an FP8 scale{_HINT}",
        certain=model.experts.intermediate_size % block == 0,
    )


def stages_have_layers(model: ModelFacts, layout: Layout) -> Obstacle | None:
    if layout.pipeline <= model.layers:
        return None
    return Obstacle(f"PP {layout.pipeline} makes more stages than the model has layers ({model.layers})")


def stages_are_supported(model: ModelFacts, layout: Layout) -> Obstacle | None:
    if layout.pipeline == 1 or model.supports_pipeline:
        return None
    return Obstacle(f"vLLM cannot split {model.architecture} into stages (PP {layout.pipeline})")


CHECKS: tuple[Check, ...] = (
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
_HINT = "; expert parallelism keeps them whole"


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


def _attention_widths(model: ModelFacts, layout: Layout) -> Iterator[tuple[str, int]]:
    if model.latent:
        head = model.latent.nope_dim + model.latent.rope_dim
        yield "queries' width", model.heads * head
        yield "latent's width", model.heads * (model.latent.nope_dim + model.latent.value_dim)
        yield "attention output's width", model.heads * model.latent.value_dim
        return
    yield "queries' width", model.heads * model.head_size
    yield "keys' width", max(model.kv_heads, layout.tensor) * model.head_size
