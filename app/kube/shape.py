"""Signs by which an object of ours is told from one that somebody else made under the same name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.kube.lenient import mapping_at, mappings_at, text_at, value_at
from app.kube.privilege import pod_templates

FETCHER = "downloader"
"""The one init container that our pods may have."""


def is_named(child: Mapping[str, Any], *names: str) -> bool:
    return text_at(child, "metadata", "name") in names


def runs_only(child: Mapping[str, Any], *names: str) -> bool:
    """Whether its pods have one container each, of these names in this order, and no init container but ours."""
    templates = pod_templates(child)
    containers = [[text_at(it, "name") for it in mappings_at(template, "spec", "containers")] for template in templates]
    prepared = {text_at(it, "name") for template in templates for it in mappings_at(template, "spec", "initContainers")}
    return containers == [[name] for name in names] and prepared <= {FETCHER}


def selects(child: Mapping[str, Any], labels: Mapping[str, str], *path: str) -> bool:
    """Whether the labels at a path are exactly these, and a selector has no expressions beside them."""
    expressions = value_at(child, *path[:-1], "matchExpressions") if path[-1] == "matchLabels" else None
    return bool(value_at(child, *path) == labels) and not expressions


def leads_to(ingress: Mapping[str, Any], service: str) -> bool:
    """Whether an Ingress leads to one Service only."""
    return value_at(ingress, "spec", "defaultBackend") is None and set(_backends(ingress)) <= {service}


def _backends(ingress: Mapping[str, Any]) -> Iterator[str]:
    for rule in mappings_at(ingress, "spec", "rules"):
        for path in mappings_at(rule, "http", "paths"):
            yield text_at(path, "backend", "service", "name")


def binds(binding: Mapping[str, Any], role: str) -> bool:
    """Whether a RoleBinding gives the Role of this name; what it gives cannot be changed."""
    given = mapping_at(binding, "roleRef")
    return text_at(given, "kind") == "Role" and text_at(given, "name") == role
