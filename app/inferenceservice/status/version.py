"""Which version of the weights the pods were built for. Their ModelCache may have a newer one since, in a folder of its
own, and pods keep theirs until the service is edited or replanned.

While a new template is rolled out, the groups that are ready are mostly those of the previous one: the version stays
until none is left of them.

What was built by earlier operators does not carry the version: then it is the cache's, if its folder is the pods' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.contracts import runtime as contract
from app.inferenceservice.facts import Facts
from app.inferenceservice.status.progress import find_current
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.manifest import annotation
from app.kube.names import VERSION_ANNOTATION


def find_version(facts: Facts) -> str:
    """The version, "" where nothing runs, or nothing tells it."""
    current, cache = find_current(facts), facts.observed.cache
    if current is None:
        return ""
    told = annotation(current.applied, VERSION_ANNOTATION)
    if facts.observed.told_version and current.is_rolling and current.ready:
        return facts.observed.told_version
    if told or cache is None:
        return told
    return cache.version if _folder(current.applied) == f"{contract.MODEL_STORE}/{cache.path}" else ""


def _folder(workload: Mapping[str, Any]) -> str:
    """Where the leader's container looks for the model."""
    spec = mapping_at(workload, "spec")
    template = mapping_at(spec, "template") or mapping_at(spec, "leaderWorkerTemplate", "leaderTemplate")
    containers = mappings_at(template, "spec", "containers")
    variables = (it for container in containers for it in mappings_at(container, "env"))
    return next((text_at(it, "value") for it in variables if it.get("name") == contract.MODEL_PATH), "")
