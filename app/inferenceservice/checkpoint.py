"""The catalogue's facts of a model -> those of the checkpoint that is served.

The catalogue lists a name once, as its publisher stores it. Where engineArgs.quantization names a format that vLLM only
reads and never makes while loading, the weights must be stored in it, whoever quantised them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.inferenceservice.spec import InferenceServiceSpec
from app.topology.models import ModelFacts, Quantization

_MXFP4 = Quantization("mxfp4", 4, (32,))
_INT4 = Quantization("int4", 4, (128,))
STORED: Mapping[str, Quantization] = {
    "mxfp4": _MXFP4,
    "awq": _INT4,
    "awq_marlin": _INT4,
    "gptq": _INT4,
    "gptq_marlin": _INT4,
    "auto-round": _INT4,
}
"""Values of the argument that name a number format; quark and compressed-tensors stand for several, so they tell none.
Groups are of the usual size."""


def as_served(listed: ModelFacts, spec: InferenceServiceSpec) -> ModelFacts:
    """What the catalogue says of quantisation goes first."""
    stored = STORED.get(str(spec.known_arguments.get("quantization")))
    return replace(listed, quantization=stored) if stored and listed.quantization is None else listed
