"""Does it fit: the memory of one GPU, and how long a sequence may be.

    usable     = gpu_memory_utilization x memory as the driver reports it
    overhead   = max(4 GiB, 4 % of the memory, activations + 1.5 GiB RCCL and HIP context + 2 GiB HIP graphs)
    activations = 2 bytes x (10 x tokens of a batch x hidden width + 1,024 sampled rows x vocabulary)
    KV cache   = usable - weights - overhead
    sequences  = KV cache // bytes of one sequence of the full length

It fits when at least one sequence of the full length does: vLLM refuses to start otherwise. The stage of a pipeline
with the least room for its part of a sequence decides for all. A length that was given must fit whole. With none given
it is the model's own, or the largest multiple of 1,024 that fits if that is at least 8,192 (or the model's own).
Tokens of a batch, when not given: 16,384 from 160 GiB on, 8,192 from 70 GiB on, else 2,048 (vLLM's defaults).

The overhead is a proposal that was not measured on AMD GPUs; `Overhead` holds it so that settings can change it.
Sources: vLLM 0.33 (worker's memory profiling, engine arguments); see also the modules weights and kv_cache.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.fit.catalog import GIB, Accelerator
from app.fit.memory.kv_cache import growth_bytes, sequence_bytes
from app.fit.memory.layers import PipelineStage, pipeline_stages
from app.fit.memory.precision import Precision, kv_bits
from app.fit.memory.weights import stage_weights
from app.fit.model import ModelFacts
from app.fit.parallelism import Parallelism

SHORTEST = 8192
"""Tokens that a chosen length has at least."""
STEP = 1024
"""Chosen lengths are multiples of it."""


@dataclass(frozen=True)
class Overhead:
    """What a GPU needs beside weights and KV cache."""

    floor_bytes: int = 4 * GIB
    memory_fraction: float = 0.04
    context_bytes: int = 3 * GIB // 2
    graph_bytes: int = 2 * GIB
    widths_of_activations: int = 10
    sampled_rows: int = 1024

    def on(self, capacity: int, model: ModelFacts, batched_tokens: int) -> int:
        """Bytes on a GPU of `capacity` bytes that computes `batched_tokens` tokens at once."""
        widths = self.widths_of_activations * batched_tokens * model.hidden_size
        activations = 2 * (widths + self.sampled_rows * model.vocab_size)
        parts = activations + self.context_bytes + self.graph_bytes
        return max(self.floor_bytes, int(capacity * self.memory_fraction), parts)


STANDARD_OVERHEAD = Overhead()


@dataclass(frozen=True)
class Engine:
    """How the engine is started; None = not said. Counts are at least 1."""

    precision: Precision | None = None
    max_model_len: int | None = None
    """Tokens of the longest sequence, prompt and answer."""
    kv_cache_dtype: str = "auto"
    gpu_memory_utilization: float = 0.92
    max_num_batched_tokens: int | None = None
    expert_parallel: bool | None = None
    architectures: tuple[str, ...] | None = None
    """gfx names that its image was built for; None = not known."""
    overhead: Overhead = STANDARD_OVERHEAD


@dataclass(frozen=True)
class MemoryEstimate:
    """One GPU, in bytes: the one with the least room."""

    capacity: int
    usable: int
    weights: int
    overhead: int
    kv_available: int
    kv_per_sequence: int
    length: int
    """Tokens of the sequence that was planned for: given, or chosen."""
    kv_per_token: int = 0
    """What each token adds however long a sequence is: layers with a window are left out, unless all have one."""

    @property
    def sequences(self) -> int:
        """Sequences of the full length that fit at once."""
        return self.kv_available // self.kv_per_sequence

    @property
    def tokens(self) -> int:
        """Tokens that fit at once, all sequences together."""
        return self.kv_available * self.length // self.kv_per_sequence

    @property
    def fits(self) -> bool:
        return self.sequences > 0

    @property
    def needed(self) -> int:
        """Memory a GPU would need for one sequence, in bytes."""
        return -(-(self.weights + self.overhead + self.kv_per_sequence) * self.capacity // self.usable)

    @property
    def explanation(self) -> str:
        """One sentence with the numbers."""
        taken = f"weights {gib(self.weights)} + overhead {gib(self.overhead)}"
        if self.weights + self.overhead > self.usable:
            return f"{taken} exceed the {gib(self.usable)} that are usable of {gib(self.capacity)}"
        left = f"{taken} of {gib(self.usable)} usable leave {gib(self.kv_available)} for the KV cache"
        if not self.fits:
            return f"{left}, and one sequence of {self.length:,} tokens takes {gib(self.kv_per_sequence)}"
        return f"{left}: {self.sequences:,} sequence{'s' * (self.sequences > 1)} of {self.length:,} tokens"


def gib(size: int) -> str:
    """Bytes as GiB with one decimal."""
    return f"{size / GIB:.1f} GiB"


def estimate(model: ModelFacts, gpu: Accelerator, parallelism: Parallelism, engine: Engine) -> MemoryEstimate:
    """The memory of one GPU, whether it fits or not; `parallelism` has no more stages than the model has layers."""
    stages = pipeline_stages(model, parallelism.pipeline)
    rooms = [_room(model, gpu, parallelism, stage, engine) for stage in stages]
    length = engine.max_model_len or _longest(model, rooms)
    return min((room.memory(length) for room in rooms), key=lambda memory: (memory.tokens, -memory.needed))


def least_bytes(model: ModelFacts, engine: Engine) -> int:
    """What all GPUs of one copy need together under any parallelism: the weights, and one sequence of the length
    asked for. Most need more, for they repeat parts."""
    [whole] = pipeline_stages(model, 1)
    bits = kv_bits(engine.kv_cache_dtype, engine.precision)
    sequence = sequence_bytes(model, whole, engine.max_model_len or 1, 1, 1, bits)
    return stage_weights(model, whole, Parallelism(), engine.precision) + sequence


@dataclass(frozen=True)
class _Room:
    """A GPU of one stage, in bytes, while the length is not settled."""

    capacity: int
    usable: int
    weights: int
    overhead: int
    sequence: Callable[[int], int]
    """Bytes of one sequence of so many tokens."""
    token: int
    """Bytes that each token adds."""

    @property
    def available(self) -> int:
        return max(0, self.usable - self.weights - self.overhead)

    def memory(self, length: int) -> MemoryEstimate:
        return MemoryEstimate(
            self.capacity,
            self.usable,
            self.weights,
            self.overhead,
            self.available,
            self.sequence(length),
            length,
            self.token,
        )

    def longest(self, ceiling: int) -> int:
        """The longest sequence that fits: the ceiling, or a multiple of STEP below it, or 0."""
        if self.sequence(ceiling) <= self.available:
            return ceiling
        lengths = range(0, ceiling, STEP)
        too_long = bisect_left(lengths, True, lo=1, key=lambda length: self.sequence(length) > self.available)
        return lengths[too_long - 1]


def _room(model: ModelFacts, gpu: Accelerator, parallelism: Parallelism, stage: PipelineStage, engine: Engine) -> _Room:
    capacity = gpu.memory_bytes
    batch = engine.max_num_batched_tokens or _default_batch(capacity)
    in_flight, bits = max(2, parallelism.pipeline) * batch, kv_bits(engine.kv_cache_dtype, engine.precision)
    return _Room(
        capacity=capacity,
        usable=max(1, int(capacity * engine.gpu_memory_utilization)),
        weights=stage_weights(model, stage, parallelism, engine.precision),
        overhead=engine.overhead.on(capacity, model, batch),
        sequence=lambda length: sequence_bytes(model, stage, length, in_flight, parallelism.tensor, bits),
        token=growth_bytes(model, stage, parallelism.tensor, bits),
    )


def _longest(model: ModelFacts, rooms: Iterable[_Room]) -> int:
    """The length to choose; a model whose own maximum is not known is planned for the shortest."""
    ceiling = model.max_position or SHORTEST
    return max(min(SHORTEST, ceiling), min(room.longest(ceiling) for room in rooms))


def _default_batch(capacity: int) -> int:
    if capacity >= 160 * GIB:
        return 16384
    return 8192 if capacity >= 70 * GIB else 2048
