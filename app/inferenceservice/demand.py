"""Spec + model facts + settings -> what the service needs: shapes that fit, product by product, and the GPURequest.

Among the products that can hold the model, the one with the least memory comes first: larger GPUs stay free for models
that need them. The digest is over what a decision depends on. Replicas, priority and explanations are not among it, so
they never make a pool decide anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.api.v1alpha1.gpunode import resource_mode
from app.api.v1alpha1.gpurequest import ExcludedProduct, GPURequestSpec, ReplicaRange
from app.api.v1alpha1.gpurequest import Shape as ShapeSpec
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec, Sharing
from app.fit.catalog import ACCELERATORS, Accelerator, partitioned
from app.fit.fit import fit_products
from app.fit.memory.estimate import Engine
from app.fit.model import ModelFacts
from app.fit.parallelism import Impossible, Parallelism, ParallelismRequest, Strategy, plan_parallelism
from app.fit.request import DoesNotFit, FitResult, Fits, Unknown
from app.fit.suggestion import find_suggestion
from app.inferenceservice.fit_inputs import parse_engine, quantization_method
from app.inferenceservice.length import find_limit
from app.kube.names import HOSTNAME_LABEL, digest
from app.settings import Settings


@dataclass(frozen=True)
class Need:
    """What the service asks its pool for."""

    demand: ParallelismRequest
    parallelism: Parallelism
    """What the spec's sizes alone make of a group."""
    fits: tuple[Fits, ...]
    """Products that hold the model, best first; empty when nothing is known of the model."""
    excluded: tuple[DoesNotFit, ...]
    unfit: str
    """Why no product holds the model, and what would; "" when one does, or nothing is known."""
    gated: bool
    """Placement must be exact, so pods wait for the agent to give them their node."""
    request: GPURequestSpec
    note: str
    """What could not be checked."""

    @property
    def digest(self) -> str:
        return self.request.digest

    def find_fit(self, product: str) -> Fits | None:
        """What was planned for a product of the catalogue."""
        return next((fit for fit in self.fits if fit.gpu.key == product), None)


def plan_need(
    spec: InferenceServiceSpec, model: ModelFacts | None, settings: Settings, node: str = ""
) -> Need | Impossible:
    """The need of a service, or how its sizes contradict each other. `node` is the only one that will do, "" where any
    will."""
    demand = spec.demand
    sizes = plan_parallelism(demand)
    if isinstance(sizes, Impossible):
        return sizes
    engine = parse_engine(spec, find_limit(spec, model), tuple(settings.gpu_architectures) or None)
    answers = _answers(model, demand, engine, spec.partition)
    fits = tuple(sorted((it for it in answers if isinstance(it, Fits)), key=_preference))
    excluded = tuple(it for it in answers if isinstance(it, DoesNotFit))
    sharing = spec.sharing or Sharing(settings.sharing)
    gated = sharing is Sharing.EXCLUSIVE or demand.strategy is Strategy.TOPOLOGY_AWARE
    return Need(
        demand=demand,
        parallelism=sizes,
        fits=fits,
        excluded=excluded,
        unfit="" if len(excluded) < len(answers) else _unfit(model, spec, engine, excluded),
        gated=gated,
        request=_request(spec, settings, sharing, gated, _shapes(spec, sizes, answers, fits), excluded, node),
        note="" if model else _unchecked(spec),
    )


def _unchecked(spec: InferenceServiceSpec) -> str:
    method = quantization_method(spec)
    served = f"{spec.model.name} with quantization {method}" if method else spec.model.name
    return f"nothing is known of model {served}: whether it fits the GPUs was not checked"


@lru_cache(maxsize=4096)
def _answers(
    model: ModelFacts | None, demand: ParallelismRequest, engine: Engine, partition: str | None
) -> tuple[FitResult, ...]:
    """Pure arithmetic over the catalogue, the same at every sync of a service: remembered, not state."""
    return fit_products(model, demand, engine, _candidates(partition))


def _candidates(partition: str | None) -> Sequence[Accelerator]:
    if partition is None:
        return ACCELERATORS
    return [part for whole in ACCELERATORS if (part := partitioned(whole, partition))]


def _preference(fit: Fits) -> tuple[int, str]:
    return fit.gpu.memory_bytes, fit.gpu.key


def _unfit(
    model: ModelFacts | None,
    spec: InferenceServiceSpec,
    engine: Engine,
    excluded: tuple[DoesNotFit, ...],
) -> str:
    """The reason of the product that comes nearest, and the smallest demand that would do."""
    if not excluded:
        return f"no AMD GPU has the partition mode {spec.partition}"
    largest = max(excluded, key=lambda it: (bool(it.alternatives) or "needs" in it.reason, it.gpu.memory_bytes))
    head = f"{spec.model.name} fits no known AMD GPU as asked; {largest.gpu.key}: {largest.reason}"
    if model is None:
        return head
    found = _suggestion(model, spec.demand, engine, spec.partition)
    return f"{head}; {found}" if found else head


@lru_cache(maxsize=256)
def _suggestion(model: ModelFacts, demand: ParallelismRequest, engine: Engine, partition: str | None) -> str:
    """What would do, or ""; a search over many demands, remembered because a blocked service is synced again."""
    return str(find_suggestion(model, demand, engine, _candidates(partition)) or "")


def _request(
    spec: InferenceServiceSpec,
    settings: Settings,
    sharing: Sharing,
    gated: bool,
    shapes: list[ShapeSpec],
    excluded: tuple[DoesNotFit, ...],
    node: str,
) -> GPURequestSpec:
    """The request without its number of groups, which the caller knows."""
    only = {HOSTNAME_LABEL: node} if node else {}
    request = GPURequestSpec(
        pool=spec.resources.pool,
        digest="",
        priority=spec.resources.priority,
        strategy=spec.resources.strategy.value,
        sharing=sharing.value,
        resource=spec.gpu_resource(settings.gpu_resource),
        nodes=spec.nodes,
        gpus_per_node=spec.gpus_per_node,
        replicas=ReplicaRange(min=1, max=1),
        shapes=shapes,
        excluded=[ExcludedProduct(product=it.gpu.key, reason=it.reason) for it in excluded],
        node_selector=dict(sorted((settings.node_selector | only).items())),
        tolerations=list(settings.tolerations),
        gated=gated,
    )
    return request.model_copy(update={"digest": _digest(request)})


def _shapes(
    spec: InferenceServiceSpec, by_spec: Parallelism, answers: tuple[FitResult, ...], fits: tuple[Fits, ...]
) -> list[ShapeSpec]:
    """What the pool may choose among. Of an unknown model that is one shape for any product; but a partition mode that
    the resource's name does not tell names its products, or any GPU would do."""
    if fits:
        return [_shape(fit) for fit in fits]
    shape = ShapeSpec(tensor=by_spec.tensor, pipeline=by_spec.pipeline, data=by_spec.data)
    if not spec.resources.gpu.partition or resource_mode(spec.resources.gpu.resource or "") == spec.partition:
        return [shape]
    cut = [it.gpu.key for it in answers if isinstance(it, Unknown)]
    return [shape.model_copy(update={"product": product}) for product in cut] or [shape]


def _shape(fit: Fits) -> ShapeSpec:
    return ShapeSpec(
        product=fit.gpu.key,
        tensor=fit.parallelism.tensor,
        pipeline=fit.parallelism.pipeline,
        data=fit.parallelism.data,
        expert_parallel=fit.parallelism.expert_parallel,
        max_model_len=fit.max_model_len,
    )


_NOT_DECIDING = {"digest", "pool", "priority", "replicas", "excluded"}


def _digest(request: GPURequestSpec) -> str:
    part: dict[str, Any] = request.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=_NOT_DECIDING)
    return digest(part)
