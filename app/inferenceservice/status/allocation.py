"""How the GPUs of a group are used, as far as it is known: decided by the pool, written on the workload, or planned."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.v1alpha1.gpuallocation import GPUAllocationSpec
from app.fit.parallelism import Impossible, Parallelism
from app.inferenceservice.facts import Facts
from app.inferenceservice.status.progress import find_current
from app.kube.manifest import annotation
from app.kube.names import DECISION_ANNOTATION, REQUEST_ANNOTATION


@dataclass(frozen=True)
class Layout:
    """The parallel sizes of one group, and the pool's answer when it is about this service as it is."""

    parallelism: Parallelism
    allocation: GPUAllocationSpec | None = None


def find_layout(facts: Facts) -> str:
    """In words. As it was decided when the workload was built, by today's operator or an earlier one."""
    current = find_current(facts)
    decided = annotation(current.applied, DECISION_ANNOTATION) if current else ""
    return decided or _planned(facts)


def _planned(facts: Facts) -> str:
    sizes = facts.parallelism
    return sizes.message if isinstance(sizes, Impossible) else sizes.on(facts.spec.nodes, facts.spec.gpus_per_node)


def find_assignment(layout: Layout | None) -> str:
    """What the pool decided, as it said it then; "" where it decided nothing about what runs or is asked."""
    allocation = layout.allocation if layout else None
    said = (allocation.message or "").rstrip(".") if allocation and allocation.shape else ""
    return f"; the pool counts on {said}" if said else ""


def plan_layout(facts: Facts) -> Layout | None:
    """The pool's shape where its answer is about what runs or what is asked; else the spec's; None if it has none."""
    planned = facts.parallelism
    if isinstance(planned, Impossible):
        return None
    allocation = facts.observed.allocation
    if allocation is None or allocation.digest not in _digests(facts):
        return Layout(planned)
    granted = allocation.shape
    if granted is None:
        return Layout(planned, allocation)
    sizes = Parallelism(granted.tensor, granted.pipeline, granted.data, granted.expert_parallel)
    return Layout(sizes, allocation)


def _digests(facts: Facts) -> set[str]:
    current = find_current(facts)
    running = annotation(current.applied, REQUEST_ANNOTATION) if current else ""
    return {running, facts.need.digest if facts.need else ""} - {""}
