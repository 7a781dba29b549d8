"""The layers of a model: their parameters, in parts that are stored and split alike, and the pipeline stages they form.

h hidden width, n heads, k key-value heads, d head width, I MLP width, E experts, V vocabulary:

    attention          h n d (twice with an output gate) + 2 h k d + n d h   [+ biases, sinks, q and k norms]
    latent attention   h q + q n (nope + rope) + h (kv + rope) + kv n (nope + v) + n v h, and two norms
    linear attention   h (2 K + 2 V') + 2 h v + (2 K + V') kernel + V' h, K = key heads x dim, V' = value heads x dim
    MLP                3 h I
    experts            E 3 h I + router h E + shared experts 3 h I'
    embedding, head    V h each; one of them when tied
    draft layer        one layer with experts + 2 h h + embedding and head of its own, and three norms

Splitting over tensor-parallel GPUs (vLLM): heads, MLP width and vocabulary are divided; key-value heads are divided
until each GPU has one; norms, the router and the projections down to a latent are whole on every GPU. Experts are
divided over the tensor x data parallel GPUs of a stage: each expert by its width, or whole ones with expert
parallelism. Sources: vLLM's model files; checked against the published totals of 18 checkpoints, to the last digit.

Pipeline stages: L layers over P stages are L // P each, and one more for the L % P stages before the last, because the
last also holds the head. The first stage holds the embedding; when head and embedding are tied, both ends hold a copy.
Source: vLLM 0.33, distributed/utils (VLLM_PP_LAYER_PARTITION would override it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache

from app.fit.model import Experts, LatentAttention, LinearAttention, ModelFacts


class Split(Enum):
    """What becomes of a part when several GPUs share a layer."""

    WHOLE = auto()
    TENSOR = auto()
    KV_HEADS = auto()
    EXPERTS = auto()


@dataclass(frozen=True)
class Part:
    """`count` parameters; `linear` ones are what quantisation applies to, unless it leaves out `attention`."""

    count: int
    split: Split
    linear: bool = True
    attention: bool = False


class Attention(Enum):
    FULL = auto()
    SLIDING = auto()
    LINEAR = auto()


@dataclass(frozen=True)
class LayerKind:
    """Layers of one kind cost the same."""

    attention: Attention
    experts: bool


@dataclass(frozen=True)
class PipelineStage:
    """What the GPUs of one stage hold: layers by kind and how often it stands at either end of the model."""

    layers: tuple[tuple[LayerKind, int], ...]
    vocabularies: int
    """Embedding and head: 0, 1 or 2 matrices."""
    last: bool


@lru_cache(maxsize=256)
def layer_kinds(model: ModelFacts) -> tuple[LayerKind, ...]:
    """The layers from first to last; full attention is spread evenly and ends each turn of special layers."""
    return tuple(LayerKind(_attention(model, index), _has_experts(model, index)) for index in range(model.layers))


@lru_cache(maxsize=256)
def layer_parts(model: ModelFacts, kind: LayerKind) -> tuple[Part, ...]:
    """What one layer of this kind stores."""
    return tuple(_layer_parts(model, kind))


def vocabulary_part(model: ModelFacts) -> Part:
    """The embedding, or the head: each is one row of hidden width for every entry of the vocabulary."""
    return Part(model.vocab_size * model.hidden_size, Split.TENSOR, linear=False)


def draft_parts(model: ModelFacts) -> tuple[Part, ...]:
    """One layer for multi-token prediction, as stored."""
    h, kind = model.hidden_size, LayerKind(Attention.FULL, model.experts is not None)
    own = Part(2 * h * h + 3 * h, Split.WHOLE, linear=False)
    return (*layer_parts(model, kind), own, vocabulary_part(model), vocabulary_part(model))


def count_parameters(model: ModelFacts) -> int:
    """All parameters of the language model, without draft layers and vision towers."""
    layers = sum(part.count for kind in layer_kinds(model) for part in layer_parts(model, kind))
    vocabulary = vocabulary_part(model).count * (1 if model.tied_embeddings else 2)
    return layers + vocabulary + model.hidden_size


@lru_cache(maxsize=1024)
def pipeline_stages(model: ModelFacts, pipeline: int) -> tuple[PipelineStage, ...]:
    """From first to last; `pipeline` must not exceed the layers."""
    kinds, found, start = layer_kinds(model), [], 0
    for index in range(pipeline):
        stop = start + _layers_of_stage(model.layers, pipeline, index)
        found.append(_pipeline_stage(model, kinds[start:stop], index == 0, index == pipeline - 1))
        start = stop
    return tuple(found)


def _attention(model: ModelFacts, index: int) -> Attention:
    special = model.linear or model.sliding
    full = model.layers - sum(part.layers for part in (model.linear, model.sliding) if part)
    if special is None or (index + 1) * full // model.layers > index * full // model.layers:
        return Attention.FULL
    return Attention.LINEAR if special is model.linear else Attention.SLIDING


def _has_experts(model: ModelFacts, index: int) -> bool:
    experts = model.experts
    return experts is not None and index >= experts.first_dense and (index + 1) % experts.every == 0


def _layer_parts(model: ModelFacts, kind: LayerKind) -> Iterator[Part]:
    yield Part(model.norms * model.hidden_size, Split.WHOLE, linear=False)
    yield from (replace(part, attention=True) for part in _attention_of(model, kind))
    if kind.experts and model.experts:
        yield from _expert_parts(model.hidden_size, model.experts)
    else:
        yield Part(3 * model.hidden_size * model.intermediate_size, Split.TENSOR)


def _attention_of(model: ModelFacts, kind: LayerKind) -> Iterator[Part]:
    if kind.attention is Attention.LINEAR and model.linear:
        return _linear_attention(model.hidden_size, model.linear)
    return _latent_attention(model, model.latent) if model.latent else _attention_parts(model)


def _attention_parts(model: ModelFacts) -> Iterator[Part]:
    h, queries, keys = model.hidden_size, model.heads * model.head_size, model.kv_heads * model.head_size
    yield Part(h * queries * (3 if model.output_gate else 2), Split.TENSOR)
    yield Part(2 * h * keys, Split.KV_HEADS)
    yield Part((queries if model.qkv_bias else 0) + (model.heads if model.sinks else 0), Split.TENSOR, linear=False)
    yield Part(2 * keys if model.qkv_bias else 0, Split.KV_HEADS, linear=False)
    norms = 2 * model.head_size if model.qk_norm else 0
    yield Part(norms + (h if model.output_bias else 0), Split.WHOLE, linear=False)


def _latent_attention(model: ModelFacts, latent: LatentAttention) -> Iterator[Part]:
    h, n, kv, head = model.hidden_size, model.heads, latent.kv_rank, latent.nope_dim + latent.rope_dim
    query = latent.query_rank
    yield Part(h * (kv + latent.rope_dim + (query or 0)), Split.WHOLE)
    yield Part((query or h) * n * head + kv * n * (latent.nope_dim + latent.value_dim), Split.TENSOR)
    yield Part(n * latent.value_dim * h, Split.TENSOR)
    yield Part(kv + (query or 0), Split.WHOLE, linear=False)


def _linear_attention(h: int, linear: LinearAttention) -> Iterator[Part]:
    keys, values = linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim
    yield Part(h * (2 * keys + 3 * values + 2 * linear.value_heads), Split.TENSOR)
    small = (2 * keys + values) * linear.conv_kernel + 2 * linear.value_heads
    yield Part(small, Split.TENSOR, linear=False)
    yield Part(linear.value_dim, Split.WHOLE, linear=False)


def _expert_parts(h: int, experts: Experts) -> Iterator[Part]:
    count, width = experts.count, experts.intermediate_size
    yield Part(count * 3 * h * width, Split.EXPERTS)
    yield Part(count * (2 * width + h) if experts.bias else 0, Split.EXPERTS, linear=False)
    router = h * count + (count if experts.router_bias else 0) + (h if experts.shared_gate else 0)
    yield Part(router, Split.WHOLE, linear=False)
    yield Part(3 * h * experts.shared_size, Split.TENSOR)


def _layers_of_stage(layers: int, pipeline: int, index: int) -> int:
    each, rest = divmod(layers, pipeline)
    return each + (pipeline - 1 - rest <= index < pipeline - 1)


def _pipeline_stage(model: ModelFacts, kinds: tuple[LayerKind, ...], first: bool, last: bool) -> PipelineStage:
    shared = model.tied_embeddings and first and last
    return PipelineStage(tuple(Counter(kinds).items()), 1 if shared else first + last, last)
