"""The stages of a pipeline: which layers each holds.

L layers over P stages: L // P each, and one more for the L % P stages before the last, because the last also holds
the head. The first stage holds the embedding; when head and embedding are tied, both ends hold a copy.
Source: vLLM 0.33, distributed/utils (VLLM_PP_LAYER_PARTITION would override it).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from app.fit.models import ModelFacts
from app.fit.parameters import LayerKind, layer_kinds


@dataclass(frozen=True)
class Stage:
    """What the GPUs of one stage hold: layers by kind and how often it stands at either end of the model."""

    layers: tuple[tuple[LayerKind, int], ...]
    vocabularies: int
    """Embedding and head: 0, 1 or 2 matrices."""
    last: bool


@lru_cache(maxsize=1024)
def stages(model: ModelFacts, pipeline: int) -> tuple[Stage, ...]:
    """From first to last; `pipeline` must not exceed the layers."""
    kinds, found, start = layer_kinds(model), [], 0
    for index in range(pipeline):
        stop = start + _layers(model.layers, pipeline, index)
        found.append(_stage(model, kinds[start:stop], index == 0, index == pipeline - 1))
        start = stop
    return tuple(found)


def _layers(layers: int, pipeline: int, index: int) -> int:
    each, rest = divmod(layers, pipeline)
    return each + (pipeline - 1 - rest <= index < pipeline - 1)


def _stage(model: ModelFacts, kinds: tuple[LayerKind, ...], first: bool, last: bool) -> Stage:
    shared = model.tied_embeddings and first and last
    return Stage(tuple(Counter(kinds).items()), 1 if shared else first + last, last)
