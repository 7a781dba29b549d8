"""The Ingress in front of the Service."""

from __future__ import annotations

from app.inferenceservice.children.metadata import child_metadata
from app.inferenceservice.facts import Facts
from app.ingress.build import build_ingress
from app.kube.manifest import Manifest, emit


def build_own_ingress(facts: Facts) -> Manifest:
    networking = facts.spec.networking
    metadata = child_metadata(facts.identity.name, facts, annotations=networking.ingress.annotations)
    return emit(build_ingress(metadata, networking.ingress, facts.identity.name, networking.ports.http))
