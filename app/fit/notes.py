"""What may surprise in something that fits: small checks, each a sentence or ""."""

from __future__ import annotations

from collections.abc import Callable

from app.fit.legality import find_obstacle
from app.fit.precision import Precision, kv_bits
from app.fit.question import Choice, Question

Note = Callable[[Question, Choice], str]


def notes(question: Question, choice: Choice) -> tuple[str, ...]:
    """All notes on a choice, in their order."""
    return tuple(text for note in NOTES if (text := note(question, choice)))


def mx_is_converted(question: Question, _: Choice) -> str:
    quantization, accelerator = question.model.quantization, question.accelerator
    if accelerator.mx or quantization is None or not quantization.format.startswith("mx"):
        return ""
    return f"{accelerator.key} has no MX units: {quantization.format} weights are converted while they are used"


def kv_cache_is_converted(question: Question, _: Choice) -> str:
    if question.accelerator.fp8 or kv_bits(question.needs.kv_cache_dtype, question.needs.precision) != 8:
        return ""
    key = question.accelerator.key
    return f"{key} has no FP8 units: the {question.needs.kv_cache_dtype} KV cache saves memory, not time"


def precision_changes_nothing(question: Question, _: Choice) -> str:
    precision = question.needs.precision
    if precision not in (Precision.INT8, Precision.INT4) or question.model.quantization:
        return ""
    return f"the checkpoint is not quantised, so precision {precision} has no effect: its weights take 16 bits"


def longer_than_the_model(question: Question, choice: Choice) -> str:
    own = question.model.longest
    if own is None or choice.memory.length <= own:
        return ""
    return f"{choice.memory.length:,} tokens are more than the model's own {own:,}: vLLM refuses without an override"


def maximum_is_not_known(question: Question, choice: Choice) -> str:
    if question.model.max_position or question.needs.max_model_len:
        return ""
    return f"the model's own maximum is not known: it was planned for {choice.memory.length:,} tokens"


def legality_is_not_certain(question: Question, choice: Choice) -> str:
    obstacle = find_obstacle(question.model, choice.layout)
    return f"it may be refused: {obstacle.message}" if obstacle else ""


def tensor_parallelism_is_slow(question: Question, choice: Choice) -> str:
    tensor, island = choice.shape.tensor, question.accelerator.island
    if choice.shape.gpus_per_node % tensor:
        return f"TP {tensor} crosses nodes of {choice.shape.gpus_per_node} GPUs: every layer waits for the network"
    if tensor <= island:
        return ""
    return f"TP {tensor} is larger than the XGMI island of {question.accelerator.key} ({island}): some links are slow"


NOTES: tuple[Note, ...] = (
    mx_is_converted,
    kv_cache_is_converted,
    precision_changes_nothing,
    longer_than_the_model,
    maximum_is_not_known,
    legality_is_not_certain,
    tensor_parallelism_is_slow,
)
