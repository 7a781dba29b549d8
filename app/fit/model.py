"""Facts of a model that memory and parallel layout depend on: its config.json in our names.

Sizes are counts (layers, heads, features), widths are features, weight_bytes is bytes. What only the quality or the
speed of a model depends on is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.fit import codec

MOST_LAYERS = 1024
"""More than any model has; facts may come from users, and the planner goes through the layers."""
_WITHOUT_PIPELINE = (
    *("AliceAI", "DomynEdge", "Dory", "Gemma3n", "HrmText", "IQuestLoopCoder", "Mamba2For", "Zamba2For"),
    *("Whisper", "Idefics3", "SmolVLM", "Phi4MM", "AriaFor", "NemotronH_Nano", "PaddleOCRVL"),
)
"""Beginnings of the architecture classes that vLLM 0.33 cannot split into stages: they do not implement SupportsPP."""


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (MLA): keys and values are one latent vector a token, shared by all heads."""

    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    query_rank: int | None = None
    """None = queries are not compressed."""


@dataclass(frozen=True)
class SlidingWindow:
    """Layers that attend to the latest `window` tokens only, sliding or in chunks."""

    layers: int
    window: int


@dataclass(frozen=True)
class LinearAttention:
    """Layers that keep a state of fixed size instead of keys and values (gated delta net)."""

    layers: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv_kernel: int


@dataclass(frozen=True)
class Experts:
    """The mixture-of-experts part: `count` routed experts in every `every`-th layer after the first dense ones."""

    count: int
    intermediate_size: int
    shared_size: int = 0
    """Width of all shared experts of a layer together."""
    first_dense: int = 0
    every: int = 1
    bias: bool = False
    router_bias: bool = False
    shared_gate: bool = False


@dataclass(frozen=True)
class Quantization:
    """How the checkpoint stores the weights of linear layers."""

    format: str
    """Number format, whatever tool wrote it: fp8, mxfp4, mxfp8, int8, int4."""
    bits: int
    block: tuple[int, ...] = ()
    """Weights that share a scale: (128, 128) a block, (32,) a group along the row, () a whole row or tensor."""
    experts_only: bool = False
    """Nothing beside the routed experts is quantised."""
    plain_attention: bool = False
    """Attention is left as it was; MLPs and experts are quantised."""


@dataclass(frozen=True)
class ModelFacts:
    """One checkpoint."""

    architecture: str
    """Class named in config.json, for example LlamaForCausalLM."""
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    intermediate_size: int
    vocab_size: int
    head_dim: int | None = None
    """None = hidden_size / heads."""
    max_position: int | None = None
    """Longest sequence the model was made for, in tokens; None = not known."""
    positions: int | None = None
    """Longest sequence where one is asked for, if that is more: vLLM serves LongRoPE models with their original length
    otherwise, because short sequences get better answers there."""
    tied_embeddings: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    output_gate: bool = False
    """The query projection is twice as wide, its second half gates the output."""
    qk_norm: bool = False
    sinks: bool = False
    norms: int = 2
    """Norms of hidden width in each layer."""
    latent: LatentAttention | None = None
    sliding: SlidingWindow | None = None
    linear: LinearAttention | None = None
    experts: Experts | None = None
    draft_layers: int = 0
    """Layers for multi-token prediction: stored, but loaded only for speculative decoding."""
    quantization: Quantization | None = None
    weight_bytes: int | None = None
    """Bytes of all weight files, draft layers included; None = not known."""

    @property
    def longest(self) -> int | None:
        """Tokens of the longest sequence that may be asked for; None = not known."""
        return self.positions or self.max_position

    @property
    def head_size(self) -> int:
        """Width of one attention head; for latent attention see `latent`."""
        return self.head_dim or self.hidden_size // self.heads

    @property
    def supports_pipeline(self) -> bool:
        """Whether vLLM can split the layers into stages."""
        return not self.architecture.startswith(_WITHOUT_PIPELINE)


def parse_facts(raw: Mapping[str, object]) -> ModelFacts | None:
    """The facts in a JSON object with camelCase keys; None when the arithmetic would lack something it needs.

    Needed: architecture, layers, hiddenSize, heads, kvHeads, intermediateSize, vocabSize. Everything else may be
    missing or null, and unknown keys are passed over; but what is there and makes no sense makes the whole unknown.
    """
    facts = codec.read(ModelFacts, raw)
    return facts if facts and _makes_sense(facts) else None


def to_json(facts: ModelFacts) -> dict[str, object]:
    """The JSON object from which `parse_facts` reads equal facts."""
    return codec.to_json(facts)


def _makes_sense(facts: ModelFacts) -> bool:
    """Special layers are layers, and heads share the hidden width."""
    special = sum(part.layers for part in (facts.sliding, facts.linear) if part)
    dense = facts.experts.first_dense if facts.experts else 0
    layers_are_possible = max(special, dense) <= facts.layers <= MOST_LAYERS
    return layers_are_possible and facts.kv_heads <= facts.heads and facts.head_size > 0
