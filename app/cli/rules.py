"""Rules across fields, which admission checks by CEL: broken ones are told by the rules' own messages.

A rule stands once, with the spec; here is only what it is about, found by the first words of its message. What rules
say of sizes, the planner says with the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec

Breaks = Callable[[InferenceServiceSpec], bool]


def broken_rules(spec: InferenceServiceSpec) -> Iterator[str]:
    """Messages of the rules that a spec breaks."""
    for rule in spec.rules:
        if any(rule.message.startswith(words) and breaks(spec) for words, breaks in CHECKED):
            yield rule.message


def _differ(*values: object) -> bool:
    return len({value for value in values if value is not None}) > 1


def _no_gpus(spec: InferenceServiceSpec) -> bool:
    return spec.resources.total_gpus is None and spec.resources.gpu.count is None


def _two_counts(spec: InferenceServiceSpec) -> bool:
    return _differ(spec.resources.total_gpus, spec.resources.gpu.count)


def _two_sharings(spec: InferenceServiceSpec) -> bool:
    return _differ(spec.resources.sharing, spec.resources.gpu.strategy)


def _two_sizes(spec: InferenceServiceSpec) -> bool:
    group = spec.distributed
    return group.worker_replicas is not None and _differ(group.size, 1 + group.worker_replicas)


def _no_size(spec: InferenceServiceSpec) -> bool:
    group = spec.distributed
    return group.enabled and group.size is None and group.worker_replicas is None


def _two_origins(spec: InferenceServiceSpec) -> bool:
    return spec.model.source is not None and spec.storage.model_cache is not None


def _no_cpu_request(spec: InferenceServiceSpec) -> bool:
    return spec.autoscaling.enabled and spec.resources.cpu_request is None


CHECKED: tuple[tuple[str, Breaks], ...] = (
    ("say how many GPUs one group uses", _no_gpus),
    ("resources.totalGpus and", _two_counts),
    ("resources.sharing and", _two_sharings),
    ("distributed.size counts the leader", _two_sizes),
    ("say how many nodes one group uses", _no_size),
    ("model.source and storage.modelCache", _two_origins),
    ("autoscaling aims", _no_cpu_request),
)
PLANNED = ("strategy static places", "totalGpus cannot be split", "tensor x pipeline x data")
"""Told by the planner."""
