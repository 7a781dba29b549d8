"""What stands against serving: small checks in the order in which they are told.

BLOCKERS need an edit, or another cluster; PREREQUISITES come by themselves, and then the GPUs are asked for.
"""

from __future__ import annotations

from app.api.v1alpha1.gpunode import GPU_RESOURCES, is_gpu_resource, resource_mode
from app.api.v1alpha1.inferenceservice import (
    DISTRIBUTED_NAME_LIMIT,
    NAME_LIMIT,
    SOURCE_NAME_LIMIT,
    InferenceServiceSpec,
)
from app.fit.parallelism import Impossible
from app.inferenceservice.model_volume import choose_copy
from app.inferenceservice.names import keys_name
from app.inferenceservice.observe import WorkloadKind
from app.inferenceservice.proposal import Proposal
from app.kube.conditions import ErrorClass, Finding, Reason, listed
from app.policy import Chain
from app.source.folders import find_folder, home_folders
from app.vllm.command import Severity


def _configuration(message: str) -> Finding:
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def name_too_long(proposal: Proposal) -> Finding | None:
    """Bounds that admission checks too; objects stored before may break them."""
    facts = proposal.facts
    name, spec = facts.identity.name, facts.spec
    limit, why = NAME_LIMIT, "pods' names and labels"
    if spec.distributed.enabled:
        limit, why = DISTRIBUTED_NAME_LIMIT, "LeaderWorkerSet's labels"
    if spec.model.source:
        limit, why = SOURCE_NAME_LIMIT, "the ModelCache and its Job"
    if len(name) <= limit:
        return None
    return _configuration(f"the name has {len(name)} characters; {why} leave room for {limit}")


def kind_missing(proposal: Proposal) -> Finding | None:
    """A child of a kind that the controller does not list must not be emitted."""
    facts = proposal.facts
    if facts.kind is WorkloadKind.DEPLOYMENT or facts.observed.distributed_possible:
        return None
    message = (
        "distributed.enabled needs LeaderWorkerSet, which this installation does not manage: install LWS and add the "
        "kustomize component metacontroller/lws, or set distributed.enabled to false"
    )
    return Finding(ErrorClass.EXTERNAL, Reason.MISSING_CAPABILITY, message)


def resource_refused(proposal: Proposal) -> Finding | None:
    """Pods of services hold GPUs and no other device: neither a host's virtualisation nor its network cards."""
    facts = proposal.facts
    usual = facts.settings.gpu_resource
    asked = facts.spec.gpu_resource(usual)
    if is_gpu_resource(asked, usual):
        return None
    own = "" if is_gpu_resource(usual, "") else f"{usual} (INFERENCE_GPU_RESOURCE), "
    return _configuration(
        f"resources.gpu.resource: {asked} is refused, because it names no AMD GPU; allowed are {own}{GPU_RESOURCES}"
    )


def partition_contradicts(proposal: Proposal) -> Finding | None:
    """A resource that is named after a mode offers partitions of that mode alone."""
    facts = proposal.facts
    gpu = facts.spec.resources.gpu
    mode = resource_mode(gpu.resource or "")
    if not mode or not gpu.partition or gpu.partition == mode:
        return None
    return _configuration(
        f"resources.gpu.resource {gpu.resource} offers partitions in mode {mode}, and resources.gpu.partition asks for "
        f"{gpu.partition}: keep one of the two"
    )


def shape_impossible(proposal: Proposal) -> Finding | None:
    facts = proposal.facts
    sizes = facts.parallelism
    return _configuration(sizes.message) if isinstance(sizes, Impossible) else None


def launch_contradiction(proposal: Proposal) -> Finding | None:
    """mpirun and Ray both want to be the launcher; Ray needs a group."""
    facts = proposal.facts
    ray = facts.spec.uses_ray
    if ray and facts.spec.distributed.mpi.enabled:
        return _configuration(
            "distributed.mpi.enabled and engineArgs.distributed_executor_backend ray both say how the group is "
            "launched: keep one"
        )
    if ray and not facts.spec.distributed.enabled:
        return _configuration(
            "engineArgs.distributed_executor_backend ray is for several nodes: set distributed.enabled, or leave it out"
        )
    return None


def arguments_wrong(proposal: Proposal) -> Finding | None:
    """Mistyped known arguments and those the operator owns stop vLLM's start, so they stop here."""
    errors = [item for item in proposal.command.findings if item.severity is Severity.ERROR]
    return _configuration(listed([f"{item.path}: {item.message}" for item in errors])) if errors else None


def cache_missing(proposal: Proposal) -> Finding | None:
    """A ModelCache that the user names must be there; the one for model.source is made by this service."""
    facts = proposal.facts
    name = facts.spec.storage.model_cache
    if not name or facts.observed.cache:
        return None
    message = f"ModelCache {name} does not exist in namespace {facts.identity.namespace}: create it"
    return Finding(ErrorClass.TRANSIENT, Reason.MODEL_NOT_FOUND, message)


def cache_leaving(proposal: Proposal) -> Finding | None:
    """Kubernetes keeps a claim's data while pods mount it; nobody new should begin to."""
    facts = proposal.facts
    cache = facts.observed.cache
    if cache is None or not cache.is_leaving:
        return None
    message = (
        f"ModelCache {cache.name} is being deleted: pods that run keep their files until they end, new ones wait for "
        "another ModelCache"
    )
    return Finding(ErrorClass.TRANSIENT, Reason.MODEL_NOT_FOUND, message)


def cache_not_shareable(proposal: Proposal) -> Finding | None:
    """Pods on several nodes cannot mount one ReadWriteOnce volume."""
    facts = proposal.facts
    cache, spec = facts.observed.cache, facts.spec
    if cache is None or cache.access_mode != "ReadWriteOnce" or not cache.keeps or cache.host_path:
        return None
    what = "is distributed" if spec.nodes > 1 else "may have several replicas" if _may_scale(spec) else ""
    if not what:
        return None
    message = (
        f"ModelCache {cache.name} is ReadWriteOnce, so pods of one node alone can read it, and this service {what}: "
        "set the ModelCache's accessMode to ReadWriteMany, or its caching.enabled to false"
    )
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def cache_folder_forbidden(proposal: Proposal) -> Finding | None:
    """The cache says where its model is, and who may write its status could say anything."""
    facts = proposal.facts
    cache, settings = facts.observed.cache, facts.settings
    namespace = facts.identity.namespace
    if cache is None or not cache.host_path or not cache.keeps:
        return None
    if find_folder(cache.host_path, settings.host_path_prefixes, namespace):
        return None
    homes = " and ".join(home_folders(settings.host_path_prefixes, namespace)) or "none"
    return _configuration(
        f"ModelCache {cache.name} is in folder {cache.host_path} of the nodes, and namespace {namespace} may use "
        f"{homes}: move the model, or let the ModelCache use a claim"
    )


def _may_scale(spec: InferenceServiceSpec) -> bool:
    scaling = spec.autoscaling
    return (scaling.max_replicas or 1) > 1 if scaling.enabled else (spec.replicas or 1) > 1


def cache_not_ready(proposal: Proposal) -> Finding | None:
    """GPUs are taken only when the weights are there."""
    facts = proposal.facts
    cache = facts.observed.cache
    if cache is None:
        waiting = facts.spec.model.source is not None
        return Finding(ErrorClass.TRANSIENT, Reason.PENDING, "its ModelCache is being made") if waiting else None
    copy = choose_copy(facts.identity.key, cache)
    if cache.usable and (copy is None or copy.ready):
        return None
    if cache.usable and copy:
        message = f"waits for ModelCache {cache.name}, which fills the copy on PersistentVolumeClaim {copy.claim_name}"
        return Finding(ErrorClass.TRANSIENT, Reason.PENDING, message)
    progress = f" ({cache.progress}%)" if cache.progress is not None else ""
    said = f": {cache.message}" if cache.message else ""
    message = f"waits for ModelCache {cache.name}, which is {cache.phase}{progress}{said}"
    failed = cache.phase == "Failed"
    error, reason = (ErrorClass.EXTERNAL, Reason.FAILED) if failed else (ErrorClass.TRANSIENT, Reason.PENDING)
    return Finding(error, reason, message)


def model_unfit(proposal: Proposal) -> Finding | None:
    """No product of the catalogue holds the model in the GPUs that were asked for: waiting would not help."""
    facts = proposal.facts
    problem = facts.need.unfit if facts.need else ""
    return Finding(ErrorClass.CONFIGURATION, Reason.INSUFFICIENT_GPU, problem) if problem else None


def keys_missing(proposal: Proposal) -> Finding | None:
    """GPUs are taken only when pods can mount the key."""
    facts = proposal.facts
    job = facts.observed.keys
    if not facts.makes_ssh_keys or (job and job.complete):
        return None
    name = keys_name(facts.identity.name)
    if job and job.failure:
        message = (
            f"Job {name} could not make the ssh keys: {job.failure}; delete the Job to try again, or set "
            "distributed.mpi.sshKeySecret"
        )
        return Finding(ErrorClass.EXTERNAL, Reason.FAILED, message)
    return Finding(ErrorClass.TRANSIENT, Reason.PENDING, f"waits for Job {name}, which makes the group's ssh keys")


BLOCKERS = Chain[Proposal, Finding](
    name_too_long,
    kind_missing,
    resource_refused,
    partition_contradicts,
    shape_impossible,
    launch_contradiction,
    arguments_wrong,
    cache_not_shareable,
    cache_folder_forbidden,
    model_unfit,
)
PREREQUISITES = Chain[Proposal, Finding](cache_missing, cache_leaving, cache_not_ready, keys_missing)
