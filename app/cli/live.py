"""The world of a service as the cluster has it now -> Scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app.api.object import Object
from app.api.v1alpha1.gpupool import GPUPool
from app.api.v1alpha1.inferenceservice import DEFAULT_POOL, InferenceService
from app.cli.children import OWN, find_children, managed_kinds
from app.cli.cluster import Cluster, ForbiddenError
from app.cli.inputs import ModelOverride, settings_from_environment, settings_from_variables
from app.cli.scenario import CACHE_KIND, Scenario, done_keys, new_pool, read_nodes, ready_caches
from app.gpupool.limits import is_selective
from app.inferenceservice.names import cache_child_name
from app.inferenceservice.observe import JOB
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.manifest import Manifest
from app.settings import Settings

OPERATOR = "/apis/apps/v1/namespaces/inference-system/deployments/inference-operator"
CONFIG_MAPS = "/api/v1/namespaces/inference-system/configmaps"


@dataclass
class Live:
    """One cluster; what all services share is read once."""

    cluster: Cluster
    namespace: str

    @cached_property
    def _settings(self) -> tuple[Settings, str]:
        """And where they could not be read, a note."""
        try:
            deployment = self.cluster.find(OPERATOR) or {}
            for container in mappings_at(deployment, "spec", "template", "spec", "containers"):
                for source in mappings_at(container, "envFrom"):
                    name = text_at(source, "configMapRef", "name")
                    found = self.cluster.find(f"{CONFIG_MAPS}/{name}") if name else None
                    if found:
                        return settings_from_variables(mapping_at(found, "data"), f"ConfigMap {name}"), ""
        except ForbiddenError:
            pass
        note = "the operator's settings could not be read in inference-system: those of this environment count"
        return settings_from_environment(), note

    @property
    def settings(self) -> Settings:
        return self._settings[0]

    @cached_property
    def _inventory(self) -> tuple[dict[str, Manifest], frozenset[str], str]:
        """GPUNodes by name, the names of all nodes, and what could not be seen."""
        made = self.cluster.list(f"{OWN}/gpunodes")
        try:
            nodes = self.cluster.list("/api/v1/nodes", names_only=made is not None) or []
        except ForbiddenError:
            if made is None:
                raise
            nodes, note = made, "you may not list Nodes: those without AMD GPUs are not counted"
        else:
            note = "" if made is not None else "the operator is not installed: its pools and requests are not there"
        gpu_nodes = _by_name(made) if made is not None else read_nodes(nodes, self.settings)
        return gpu_nodes, frozenset(text_at(it, "metadata", "name") for it in nodes) | gpu_nodes.keys(), note

    @cached_property
    def _pools(self) -> dict[str, Manifest] | None:
        """By name; None where the cluster does not know the kind."""
        found = self.cluster.list(f"{OWN}/gpupools")
        return None if found is None else _by_name(found)

    @cached_property
    def _requests_and_allocations(self) -> tuple[dict[str, Manifest], dict[str, Manifest]]:
        """GPURequests and GPUAllocations of all namespaces."""
        requests, allocations = (self.cluster.list(f"{OWN}/{it}") or [] for it in ("gpurequests", "gpuallocations"))
        return _by_key(requests), _by_key(allocations)

    def scenario(self, service: Manifest, override: ModelOverride, cache: Manifest | None) -> Scenario:
        """The service of the file in place of the one that is there, if one is."""
        asked, unchecked = self._asked(service)
        name = InferenceService.read(asked).spec.resources.pool or DEFAULT_POOL
        pools, (gpu_nodes, nodes, unseen) = self._pools, self._inventory
        pool = (pools or {}).get(name)
        requests, allocations = self._requests_and_allocations
        missing = "" if pool else _without_pool(name, known=pools is not None)
        scenario = Scenario(
            service=asked,
            pool=pool or new_pool(name),
            gpu_nodes=gpu_nodes,
            nodes=nodes,
            override=override,
            children=find_children(self.cluster, asked, managed_kinds(self.cluster)),
            requests=requests,
            allocations=allocations,
            pools=pools or {},
            namespaces=self._namespaces(pool),
            pool_exists=pool is not None or pools is None,
            notes=tuple(it for it in (unchecked, self._settings[1], unseen, missing) if it),
        )
        return self._with_caches(_with_keys(scenario), cache)

    def _asked(self, service: Manifest) -> tuple[Manifest, str]:
        """As the API server would keep it, with ""; where the user may not ask that, as it is written, and a note."""
        metadata = Object.read(service).metadata
        path = f"{OWN}/namespaces/{metadata.namespace}/inferenceservices"
        there = self.cluster.find(f"{path}/{metadata.name}")
        merged = _merged(service, there) if there else service
        method, target = ("PUT", f"{path}/{metadata.name}") if there else ("POST", path)
        try:
            kept = self.cluster.check(method, target, merged)
        except ForbiddenError:
            return merged, "you may not apply it, so the API server did not check its rules"
        return {**merged, "spec": kept.get("spec", merged["spec"])}, ""

    def _namespaces(self, pool: Manifest | None) -> dict[str, Manifest]:
        """With their labels, where the pool selects among them."""
        selective = pool is not None and is_selective(GPUPool.read(pool).spec)
        return _by_name(self.cluster.list("/api/v1/namespaces") or []) if selective else {}

    def _with_caches(self, scenario: Scenario, given: Manifest | None) -> Scenario:
        """The ModelCache that is there; one that is yet to come is taken to be ready, and that is said."""
        read = InferenceService.read(scenario.service)
        namespace, name = read.metadata.namespace, read.spec.storage.model_cache
        if read.spec.model.source:
            key = f"{namespace}/{cache_child_name(read.metadata.name)}"
            if CACHE_KIND not in scenario.children or key in scenario.children[CACHE_KIND]:
                return scenario
            return _assuming(
                replace(scenario, children={**scenario.children, CACHE_KIND: ready_caches(scenario.service, None)})
            )
        found = self.cluster.find(f"{OWN}/namespaces/{namespace}/modelcaches/{name}") if name else None
        if found:
            return replace(scenario, caches={f"{namespace}/{name}": found})
        return (
            _assuming(replace(scenario, caches=ready_caches(scenario.service, given))) if name and given else scenario
        )


def _without_pool(name: str, *, known: bool) -> str:
    """What is assumed of the nodes where the pool is not there."""
    if not known:
        return "the cluster has no kind GPUPool: planned as if one over all nodes were there"
    return f"there is no GPUPool {name}: shown is what one over all nodes would choose"


def connect(kubeconfig: str | None, context: str | None, namespace: str | None) -> Live:
    cluster = Cluster(kubeconfig, context)
    return Live(cluster, namespace or cluster.namespace)


def _with_keys(scenario: Scenario) -> Scenario:
    """The ssh keys that mpirun needs are made by the operator itself."""
    enabled = InferenceService.read(scenario.service).spec.distributed.mpi.enabled
    if not enabled or scenario.children.get(JOB) or JOB not in scenario.children:
        return scenario
    made = {**scenario.children, JOB: done_keys(scenario.service)}
    return replace(scenario, children=made, notes=(*scenario.notes, "planned as if its ssh keys were made"))


def _assuming(scenario: Scenario) -> Scenario:
    return replace(
        scenario, notes=(*scenario.notes, "planned as if its ModelCache were there and the model downloaded")
    )


def _merged(service: Manifest, there: Manifest) -> Manifest:
    """The file's spec on the object that is there, which keeps its identity, status and number of groups."""
    before, after = mapping_at(there, "metadata"), mapping_at(service, "metadata")
    merged = {key: {**mapping_at(before, key), **mapping_at(after, key)} for key in ("labels", "annotations")}
    spec, groups = dict(mapping_at(service, "spec")), InferenceService.read(there).spec.replicas
    if "replicas" not in spec and groups is not None:
        spec["replicas"] = groups
    return {**there, "metadata": {**before, **{key: value for key, value in merged.items() if value}}, "spec": spec}


def _by_name(objects: Sequence[Manifest]) -> dict[str, Manifest]:
    return {text_at(it, "metadata", "name"): it for it in objects}


def _by_key(objects: Sequence[Manifest]) -> dict[str, Manifest]:
    return {Object.read(it).key: it for it in objects}
