"""GPUs that can never serve a model as asked, whatever the parallel sizes."""

from __future__ import annotations

from app.fit.memory.precision import Precision
from app.fit.request import FitRequest
from app.policy import Chain


def utilization_makes_no_sense(request: FitRequest) -> str | None:
    share = request.engine.gpu_memory_utilization
    return None if 0 < share <= 1 else f"gpu_memory_utilization must be above 0 and at most 1, not {share}"


def image_lacks_architecture(request: FitRequest) -> str | None:
    gfx, built = request.gpu.gfx, request.engine.architectures
    if built is None or gfx in built:
        return None
    return f"{gfx} is not among the architectures of the image: {', '.join(sorted(built))}"


def precision_contradicts_checkpoint(request: FitRequest) -> str | None:
    quantization = request.model.quantization if request.model else None
    if request.engine.precision is not Precision.FP8 or quantization is None or quantization.format == "fp8":
        return None
    return f"precision fp8 contradicts the checkpoint, which is quantised to {quantization.format} already"


def fp8_is_emulated(request: FitRequest) -> str | None:
    gpu, quantization = request.gpu, request.model.quantization if request.model else None
    stored = quantization is not None and quantization.format == "fp8"
    if gpu.fp8 or not (stored or request.engine.precision is Precision.FP8):
        return None
    return f"the weights are fp8, and {gpu.key} ({gpu.gfx}) has no FP8 units"


HARDWARE: Chain[FitRequest, str] = Chain(
    utilization_makes_no_sense,
    image_lacks_architecture,
    precision_contradicts_checkpoint,
    fp8_is_emulated,
)
