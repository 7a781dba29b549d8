"""What may surprise in something that fits."""

from __future__ import annotations

from app.fit.checks.layout import DOUBTFUL, Layout
from app.fit.memory.precision import Precision, kv_bits
from app.fit.request import Candidate
from app.policy import Chain


def mx_is_converted(fit: Candidate) -> str | None:
    quantization, gpu = fit.model.quantization, fit.request.gpu
    if gpu.mx or quantization is None or not quantization.format.startswith("mx"):
        return None
    return f"{gpu.key} has no MX units: {quantization.format} weights are converted while they are used"


def kv_cache_is_converted(fit: Candidate) -> str | None:
    gpu, engine = fit.request.gpu, fit.request.engine
    if gpu.fp8 or kv_bits(engine.kv_cache_dtype, engine.precision) != 8:
        return None
    return f"{gpu.key} has no FP8 units: the {engine.kv_cache_dtype} KV cache saves memory, not time"


def precision_changes_nothing(fit: Candidate) -> str | None:
    precision = fit.request.engine.precision
    if precision not in (Precision.INT8, Precision.INT4) or fit.model.quantization:
        return None
    return f"the checkpoint is not quantised, so precision {precision} has no effect: its weights take 16 bits"


def longer_than_the_model(fit: Candidate) -> str | None:
    own, length = fit.model.longest, fit.memory.length
    if own is None or length <= own:
        return None
    return f"{length:,} tokens are more than the model's own {own:,}: vLLM refuses without an override"


def maximum_is_not_known(fit: Candidate) -> str | None:
    if fit.model.max_position or fit.request.engine.max_model_len:
        return None
    return f"the model's own maximum is not known: it was planned for {fit.memory.length:,} tokens"


def legality_is_not_certain(fit: Candidate) -> str | None:
    doubt = DOUBTFUL.evaluate(Layout(fit.model, fit.parallelism))
    return f"it may be refused: {doubt}" if doubt else None


def tensor_parallelism_is_slow(fit: Candidate) -> str | None:
    tensor, gpu, per_node = fit.parallelism.tensor, fit.request.gpu, fit.request.parallelism.gpus_per_node
    if per_node % tensor:
        return f"TP {tensor} crosses nodes of {per_node} GPUs: every layer waits for the network"
    if tensor <= gpu.island:
        return None
    return f"TP {tensor} is larger than the XGMI island of {gpu.key} ({gpu.island}): some links are slow"


WARNINGS: Chain[Candidate, str] = Chain(
    mx_is_converted,
    kv_cache_is_converted,
    precision_changes_nothing,
    longer_than_the_model,
    maximum_is_not_known,
    legality_is_not_certain,
    tensor_parallelism_is_slow,
)
"""All of them are told."""
