"""`plan`: what would become of the InferenceServices of a file, without applying them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from app.api.object import Object
from app.api.v1alpha1.inferenceservice import InferenceService
from app.cli.decide import decide
from app.cli.documents import of_kind, read_documents, read_json
from app.cli.inputs import InputError, ModelOverride, read_model, unknown_fields
from app.cli.report import Report, build_report
from app.cli.scenario import DEFAULT_NAMESPACE, Scenario, named, offline_scenario
from app.kube.lenient import mapping_at, text_at
from app.kube.manifest import Manifest
from app.settings import Settings


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    file: str
    nodes: str | None = None
    """None = those of the cluster."""
    model_config: str | None = None
    weights_bytes: int | None = None
    namespace: str | None = None


class Source(Protocol):
    """Where the world of a service comes from."""

    @property
    def namespace(self) -> str: ...

    @property
    def settings(self) -> Settings: ...

    def scenario(self, service: Manifest, override: ModelOverride, cache: Manifest | None) -> Scenario: ...


@dataclass(frozen=True)
class Offline:
    """Nodes of a file, and nothing else."""

    nodes: Sequence[Manifest]
    settings: Settings
    namespace: str = DEFAULT_NAMESPACE

    def scenario(self, service: Manifest, override: ModelOverride, cache: Manifest | None) -> Scenario:
        return offline_scenario(service, self.nodes, override, self.settings, cache)


def read_offline(options: Options, settings: Settings) -> Offline:
    nodes = of_kind(read_documents(options.nodes or ""), "Node")
    if not nodes:
        raise InputError(f"{options.nodes} has no Node in it: write `kubectl get nodes -o yaml` to it")
    return Offline(nodes, settings, options.namespace or DEFAULT_NAMESPACE)


def plan(options: Options, source: Source, now: datetime) -> Iterator[Report]:
    """One report for each InferenceService of the file, in its order."""
    documents = read_documents(options.file)
    services = of_kind(documents, "InferenceService")
    if not services:
        kinds = sorted({text_at(it, "kind") or "an object without a kind" for it in documents})
        raise InputError(f"{options.file} has no InferenceService in it, only {', '.join(kinds) or 'nothing'}")
    config = read_json(options.model_config) if options.model_config else None
    override, caches = read_model(config, options.weights_bytes), of_kind(documents, "ModelCache")
    for document in services:
        service = named(document, source.namespace)
        scenario = source.scenario(service, override, _cache_of(service, caches))
        unknown = tuple(unknown_fields(mapping_at(document, "spec")))
        yield build_report(decide(replace(scenario, notes=(*unknown, *scenario.notes)), source.settings, now))


def _cache_of(service: Manifest, caches: Sequence[Manifest]) -> Manifest | None:
    """The ModelCache of the same file that the service names, in the same namespace where it says one."""
    read = InferenceService.read(service)
    pairs = ((it, Object.read(it).metadata) for it in caches)
    same = ((it, metadata) for it, metadata in pairs if metadata.name == (read.spec.storage.model_cache or ""))
    return next((it for it, metadata in same if metadata.namespace in ("", read.metadata.namespace)), None)
