"""An InferenceService as somebody wrote it -> the object a hook would get, and its spec; or what admission would say.

Admission checks a schema and CEL rules. The schema comes from the spec's model, which checks here too; the rules across
fields are told by their own messages, found by what they are about. What they say of sizes, the planner says better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from app.cli.errors import CliError
from app.crd import API_VERSION
from app.hook import Parent
from app.inferenceservice.spec import InferenceServiceSpec
from app.kube.manifest import Manifest

KIND = "InferenceService"


def find_service(objects: list[Manifest], origin: str) -> Manifest:
    """The one InferenceService among objects."""
    found = [item for item in objects if item.get("kind") == KIND]
    if not found:
        kinds = sorted({str(item.get("kind", "objects without a kind")) for item in objects})
        raise CliError(f"{origin} has no InferenceService, but {', '.join(kinds) or 'nothing'}")
    if len(found) > 1:
        raise CliError(f"{origin} has {len(found)} InferenceServices: plan one at a time, or use --batch")
    return found[0]


def parse_service(item: Mapping[str, Any], namespace: str = "") -> tuple[Parent, InferenceServiceSpec]:
    """The object and its spec. CliError names the field that admission would refuse."""
    if item.get("kind", KIND) != KIND:
        raise CliError(f"kind is {item['kind']!r}, not InferenceService")
    if item.get("apiVersion", API_VERSION) != API_VERSION:
        raise CliError(f"apiVersion is {item['apiVersion']!r}, not {API_VERSION}")
    parent = _parent(item, namespace)
    try:
        spec = InferenceServiceSpec.model_validate(parent.spec)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(("spec", *(str(part) for part in first["loc"])))
        raise CliError(f"{where} is not accepted: {first['msg']}") from None
    broken = [rule.message for rule in spec.rules if (breaks := BROKEN.get(rule.message)) and breaks(spec)]
    if broken:
        raise CliError(f"spec is not accepted: {broken[0]}")
    return parent, spec


def _parent(item: Mapping[str, Any], namespace: str) -> Parent:
    """A file may leave out what kubectl fills in."""
    given = item.get("metadata")
    metadata = dict(given) if isinstance(given, Mapping) else {}
    for key in ("labels", "annotations"):
        if not isinstance(metadata.get(key, {}), Mapping):
            raise CliError(f"metadata.{key} must be an object")
    metadata["name"] = metadata.get("name") or "service"
    metadata["namespace"] = namespace or metadata.get("namespace") or "default"
    if not isinstance(item.get("spec"), Mapping):
        raise CliError("spec is missing")
    status = item.get("status")
    return Parent(metadata=metadata, spec=dict(item["spec"]), status=status if isinstance(status, dict) else None)


def _broken_total(spec: InferenceServiceSpec) -> bool:
    return spec.resources.total_gpus is None and spec.resources.gpu.count is None


def _differ(*values: object) -> bool:
    return len({value for value in values if value is not None}) > 1


Breaks = Callable[[InferenceServiceSpec], bool]
_PREDICATES: tuple[tuple[str, Breaks | None], ...] = (
    ("say how many GPUs one group uses", _broken_total),
    ("resources.totalGpus and", lambda it: _differ(it.resources.total_gpus, it.resources.gpu.count)),
    ("resources.sharing and", lambda it: _differ(it.resources.sharing, it.resources.gpu.strategy)),
    (
        "distributed.size counts the leader",
        lambda it: (
            it.distributed.worker_replicas is not None
            and _differ(it.distributed.size, it.distributed.worker_replicas + 1)
        ),
    ),
    (
        "say how many nodes one group uses",
        lambda it: it.distributed.enabled and it.distributed.size is None and it.distributed.worker_replicas is None,
    ),
    ("model.source and", lambda it: it.model.source is not None and it.storage.model_cache is not None),
    ("strategy static", None),
    ("totalGpus cannot be split", None),
    ("tensor x pipeline x data", None),
    ("autoscaling aims", lambda it: it.autoscaling.enabled and it.resources.cpu_request is None),
)
"""By the first words of a rule's message; None = the planner tells it with the numbers."""


def _by_message() -> dict[str, Breaks]:
    found = {}
    for rule in InferenceServiceSpec.rules:
        [(_, breaks)] = [pair for pair in _PREDICATES if rule.message.startswith(pair[0])]
        if breaks:
            found[rule.message] = breaks
    return found


BROKEN: Mapping[str, Breaks] = _by_message()
