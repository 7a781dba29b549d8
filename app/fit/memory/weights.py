"""Bytes of weights on one GPU.

    a part of the model      parameters x bits / 8 x its share
    share                    1 / TP where it is divided over tensor-parallel GPUs; max(1, k // TP) / k for k key-value
                             heads; 1 where it is whole; for experts 1 / R over the R = TP x DP GPUs of a stage, or
                             ceil(E / R) / E when experts stay whole
    a GPU                    the parts of its stage's layers, the embedding on the first stage, the head on the last

When the size of the weight files is known, everything is scaled by files / formula: what the formula does not know of
(a vision tower, unusual scales) is then spread like the rest. Draft layers are part of the files and are not loaded.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil

from app.fit.memory.layers import (
    LayerKind,
    Part,
    PipelineStage,
    Split,
    draft_parts,
    layer_parts,
    pipeline_stages,
    vocabulary_part,
)
from app.fit.memory.precision import Precision, weight_bits
from app.fit.model import ModelFacts
from app.fit.parallelism import Parallelism


@lru_cache(maxsize=4096)
def stage_weights(model: ModelFacts, stage: PipelineStage, sizes: Parallelism, precision: Precision | None) -> int:
    """Bytes on each GPU of this stage; `precision` None loads the checkpoint as it is."""
    layers = sum(count * _layer_bytes(model, kind, sizes, precision) for kind, count in stage.layers)
    ends = stage.vocabularies * _bytes(model, vocabulary_part(model), sizes, precision)
    norm = _bytes(model, Part(model.hidden_size, Split.WHOLE, linear=False), sizes, precision) if stage.last else 0
    return ceil((layers + ends + norm) * _files_by_formula(model))


@lru_cache(maxsize=4096)
def stored_bytes(model: ModelFacts) -> int:
    """Bytes of the weight files by formula, draft layers included."""
    whole = Parallelism()
    (stage,) = pipeline_stages(model, 1)
    layers = sum(count * _layer_bytes(model, kind, whole, None) for kind, count in stage.layers)
    drafts = model.draft_layers * sum(_bytes(model, part, whole, None) for part in draft_parts(model))
    ends = stage.vocabularies * vocabulary_part(model).count * 2 + model.hidden_size * 2
    return ceil(layers + drafts + ends)


def _files_by_formula(model: ModelFacts) -> Fraction:
    return Fraction(model.weight_bytes, stored_bytes(model)) if model.weight_bytes else Fraction(1)


@lru_cache(maxsize=4096)
def _layer_bytes(model: ModelFacts, kind: LayerKind, sizes: Parallelism, precision: Precision | None) -> Fraction:
    return sum((_bytes(model, part, sizes, precision) for part in layer_parts(model, kind)), Fraction(0))


def _bytes(model: ModelFacts, part: Part, sizes: Parallelism, precision: Precision | None) -> Fraction:
    return part.count * _share(model, part, sizes) * weight_bits(part, model.quantization, precision) / 8


def _share(model: ModelFacts, part: Part, sizes: Parallelism) -> Fraction:
    if part.split is Split.TENSOR:
        return Fraction(1, sizes.tensor)
    if part.split is Split.KV_HEADS:
        return Fraction(max(1, model.kv_heads // sizes.tensor), model.kv_heads)
    if part.split is Split.EXPERTS and model.experts:
        count, ranks = model.experts.count, sizes.expert_ranks
        return Fraction(-(-count // ranks), count) if sizes.expert_parallel else Fraction(1, ranks)
    return Fraction(1)
