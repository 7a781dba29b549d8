"""One InferenceEndpoint as tests ask for it, and the InferenceService it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kube.manifest import Manifest
from tests.calls import Answer, ask, manifest, stored

API = "inference.ai/v1alpha1"


def spec(**parts: Any) -> dict[str, Any]:
    return {"service": "llama"} | parts


def ports(*ports: Mapping[str, Any], kind: str = "ClusterIP") -> dict[str, Any]:
    return spec(expose={"type": kind, "ports": list(ports)})


def call(given: Mapping[str, Any] | None = None, **options: Any) -> Answer:
    return ask("inferenceendpoint", given if given is not None else spec(), **options)


def target(ready: int = 1, http: int = 8000) -> Manifest:
    """The InferenceService, with so many ready groups and its API at this port of its own Service."""
    of = {"model": {"name": "m"}, "networking": {"ports": {"http": http}}}
    return manifest(API, "InferenceService", "llama", spec=of, status={"readyReplicas": ready})


def observed(given: Mapping[str, Any], address: Mapping[str, str] | None = None) -> list[Manifest]:
    """The children that a spec gets, as the cluster shows them; `address` is the load balancer's."""
    status = {"loadBalancer": {"ingress": [address]} if address else {}}
    return [stored(child, status) for child in call(given).children]


def available(given: Mapping[str, Any], address: Mapping[str, str] | None = None, **options: Any) -> Answer:
    """What is answered when the target is ready and every child is there."""
    return call(given, children=observed(given, address), related=[target()], **options)
