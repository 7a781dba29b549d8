"""GPUs that can never serve a model as asked, whatever the layout: small checks, in the order they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from app.fit.accelerators import Accelerator
from app.fit.memory import Needs
from app.fit.models import ModelFacts
from app.fit.precision import Precision


@dataclass(frozen=True)
class Candidate:
    """A kind of GPU, and what it would have to run."""

    model: ModelFacts | None
    accelerator: Accelerator
    needs: Needs
    architectures: Collection[str] | None


Exclusion = Callable[[Candidate], str]
"""The reason, or ""."""


def find_exclusion(candidate: Candidate) -> str:
    """The first reason why these GPUs are out of the question, or ""."""
    return next((reason for check in EXCLUSIONS if (reason := check(candidate))), "")


def utilization_makes_no_sense(candidate: Candidate) -> str:
    share = candidate.needs.gpu_memory_utilization
    return "" if 0 < share <= 1 else f"gpu_memory_utilization must be above 0 and at most 1, not {share}"


def image_lacks_architecture(candidate: Candidate) -> str:
    gfx, built = candidate.accelerator.gfx, candidate.architectures
    if built is None or gfx in built:
        return ""
    return f"{gfx} is not among the architectures of the image: {', '.join(sorted(built))}"


def precision_contradicts_checkpoint(candidate: Candidate) -> str:
    quantization = candidate.model.quantization if candidate.model else None
    if candidate.needs.precision is not Precision.FP8 or quantization is None or quantization.format == "fp8":
        return ""
    return f"precision fp8 contradicts the checkpoint, which is quantised to {quantization.format} already"


def fp8_is_emulated(candidate: Candidate) -> str:
    accelerator, quantization = candidate.accelerator, candidate.model.quantization if candidate.model else None
    stored = quantization is not None and quantization.format == "fp8"
    if accelerator.fp8 or not (stored or candidate.needs.precision is Precision.FP8):
        return ""
    return f"the weights are fp8, and {accelerator.key} ({accelerator.gfx}) has no FP8 units"


EXCLUSIONS: tuple[Exclusion, ...] = (
    utilization_makes_no_sense,
    image_lacks_architecture,
    precision_contradicts_checkpoint,
    fp8_is_emulated,
)
