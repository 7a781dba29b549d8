"""Model x GPU -> Fits | DoesNotFit | Unknown: the entrance of the engine.

What no parallel sizes could change is looked at first (checks/hardware.py), then what the spec fixes or leaves open
(parallelism.py), then, where the model is known, whether sizes are legal and fit (search.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from app.fit.catalog import Accelerator
from app.fit.checks.hardware import HARDWARE
from app.fit.memory.estimate import Engine
from app.fit.model import ModelFacts
from app.fit.parallelism import Impossible, ParallelismRequest, plan_parallelism
from app.fit.request import DoesNotFit, FitRequest, FitResult, Unknown
from app.fit.search import search


def fit(request: FitRequest) -> FitResult:
    """The answer for one kind of GPU. The same request always has the same answer."""
    if reason := HARDWARE.evaluate(request):
        return DoesNotFit(request.gpu, reason)
    sizes = plan_parallelism(request.parallelism)
    if isinstance(sizes, Impossible):
        return DoesNotFit(request.gpu, sizes.message)
    if request.model is None:
        planned = sizes.on(request.parallelism.nodes, request.parallelism.gpus_per_node)
        reason = f"{planned}, by the spec alone: nothing is known of the model, so memory and legality were not checked"
        return Unknown(request.gpu, sizes, reason)
    return search(request.model, request, sizes)


def fit_products(
    model: ModelFacts | None, parallelism: ParallelismRequest, engine: Engine, gpus: Iterable[Accelerator]
) -> tuple[FitResult, ...]:
    """One answer for each GPU product, in the order they came."""
    return tuple(fit(FitRequest(model, gpu, parallelism, engine)) for gpu in gpus)
