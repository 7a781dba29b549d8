"""What is asked of the engine for one kind of GPU, and the three answers there are.

    Fits          parallel sizes, with the memory of one GPU and the longest sequence
    DoesNotFit    these GPUs can never serve the model as asked, with the reason
    Unknown       nothing is known of the model: the sizes follow from the spec alone and were not checked

Unknown is never taken for zero, nor for "fits".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from app.fit.catalog import Accelerator
from app.fit.memory.estimate import Engine, MemoryEstimate, estimate
from app.fit.model import ModelFacts
from app.fit.parallelism import Parallelism, ParallelismRequest


@dataclass(frozen=True)
class FitRequest:
    """This model, on GPUs of this kind, shared in this way, under this engine."""

    model: ModelFacts | None
    """None = nothing is known of it."""
    gpu: Accelerator
    parallelism: ParallelismRequest
    engine: Engine


@dataclass(frozen=True)
class Candidate:
    """One way to answer a request: a model that is known, and sizes that are settled."""

    model: ModelFacts
    parallelism: Parallelism
    request: FitRequest

    @cached_property
    def memory(self) -> MemoryEstimate:
        return estimate(self.model, self.request.gpu, self.parallelism, self.request.engine)


@dataclass(frozen=True)
class Alternative:
    """Sizes that were not taken and, in words, why."""

    parallelism: Parallelism
    reason: str


@dataclass(frozen=True)
class Fits:
    """These GPUs can serve the model."""

    gpu: Accelerator
    parallelism: Parallelism
    memory: MemoryEstimate
    max_model_len: int | None
    """Tokens: as given, or chosen; None = the model's own maximum is not known, so the engine must choose."""
    reason: str
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class DoesNotFit:
    """Never on these GPUs; the reason has the numbers of the sizes that came nearest."""

    gpu: Accelerator
    reason: str
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Unknown:
    """Nothing is known of the model, so only the spec decides."""

    gpu: Accelerator
    parallelism: Parallelism
    reason: str


FitResult = Fits | DoesNotFit | Unknown
