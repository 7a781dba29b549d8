"""Spec + observed + settings -> Serve | Wait | Blocked.

Decide once per spec: a workload carries the digest of the part of the spec it was built from. While that matches, it
is answered exactly as last applied, whatever else changed (settings, a newer operator, facts that came late); what
would be built today is only reported. So the order of the policy is: keep what matches, then refuse what cannot be
built, then wait for what is not there yet, then build.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from app.inferenceservice.contract import HTTP_PORT, MODEL_STORE, LaunchMode
from app.inferenceservice.names import DISTRIBUTED_NAME_LIMIT, NAME_LIMIT, SOURCE_NAME_LIMIT
from app.inferenceservice.observed import Observed, WorkloadKind, WorkloadState
from app.inferenceservice.spec import InferenceServiceSpec, Sharing
from app.kube.conditions import ErrorClass, Finding, Reason
from app.kube.duration import whole_seconds
from app.kube.manifest import annotation
from app.kube.names import DIGEST_ANNOTATION, REPLAN_ANNOTATION
from app.settings import Settings
from app.topology.parallelism import Impossible, Shape, plan_shape
from app.vllm.command import CommandLine, EngineSpec, Severity, build_command_line
from app.vllm.command import Shape as EngineShape


@dataclass(frozen=True)
class Identity:
    """Whose plan this is."""

    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...] = ()
    replan: str = ""
    """Value of the annotation by which the user asks for today's decision."""


@dataclass(frozen=True)
class Decision:
    """Everything a workload is built from; nothing in it depends on load, nodes or time."""

    kind: WorkloadKind
    shape: Shape
    launch: LaunchMode
    command: CommandLine
    claim: str
    """PersistentVolumeClaim with the model; "" when vLLM fetches it itself."""
    path: str
    """Folder of the model under the volume."""
    sharing: Sharing
    digest: str


@dataclass(frozen=True)
class Serve:
    """Answer the workload: as it runs (`kept`) or as decided now."""

    decision: Decision | None
    kept: WorkloadState | None
    replicas: int | None
    """Groups to ask for; None leaves the number to the autoscaler."""
    warnings: tuple[str, ...] = ()
    obstacle: str = ""
    """Why today's decision cannot be made, while what runs is kept."""


@dataclass(frozen=True)
class Wait:
    """A prerequisite is missing. What runs already stays."""

    finding: Finding


@dataclass(frozen=True)
class Blocked:
    """Only an edit, or a change of the cluster, helps. Nothing is touched."""

    finding: Finding


Plan = Serve | Wait | Blocked


@dataclass(frozen=True)
class Facts:
    """What the checks look at."""

    identity: Identity
    spec: InferenceServiceSpec
    observed: Observed
    settings: Settings

    @property
    def kind(self) -> WorkloadKind:
        distributed = self.spec.distributed.enabled
        return WorkloadKind.LEADER_WORKER_SET if distributed else WorkloadKind.DEPLOYMENT


Check = Callable[[Facts], Finding | None]


def plan_service(facts: Facts) -> Plan:
    """The plan of one sync."""
    current = facts.observed.workload(facts.kind)
    digest = spec_digest(facts.spec)
    problem = _first(BLOCKERS, facts) or _first(WAITS, facts)
    decision = None if problem else build_decision(facts, digest)
    warnings = _warnings(facts, decision)
    if current and _still_wanted(current, digest, facts.identity):
        obstacle = problem.message if problem else ""
        return Serve(decision, current, plan_replicas(facts.spec, current), warnings, obstacle)
    if problem:
        return Wait(problem) if _first(BLOCKERS, facts) is None else Blocked(problem)
    replaced = next(iter(facts.observed.workloads), None)
    return Serve(decision, None, plan_replicas(facts.spec, current, replaced), warnings)


def _warnings(facts: Facts, decision: Decision | None) -> tuple[str, ...]:
    """What does not stop anything, but is not as it was written."""
    engine = [f"{item.path}: {item.message}" for item in decision.command.findings] if decision else []
    ignored = facts.spec.autoscaling.enabled and facts.spec.replicas is not None
    return (*engine, *(["replicas: ignored while autoscaling is enabled"] if ignored else []))


def spec_digest(spec: InferenceServiceSpec) -> str:
    """Sixteen hexadecimal digits over the part of the spec that pods depend on; values equal to defaults are left
    out and both spellings are one, so neither an unrelated edit nor a field that a later version adds changes it."""
    part = spec.canonical().model_dump(
        mode="json",
        by_alias=True,
        exclude_defaults=True,
        include={"model", "vllm", "resources", "distributed", "storage"},
    )
    return hashlib.sha256(orjson.dumps(part, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _still_wanted(current: WorkloadState, digest: str, identity: Identity) -> bool:
    """Same spec, and no replan asked for that was not taken yet. Removing the annotation is no request."""
    taken = annotation(current.applied, REPLAN_ANNOTATION)
    return annotation(current.applied, DIGEST_ANNOTATION) == digest and identity.replan in ("", taken)


def plan_replicas(
    spec: InferenceServiceSpec, current: WorkloadState | None, replaced: WorkloadState | None = None
) -> int | None:
    """Groups to ask for. Once a number was applied it must be echoed under an autoscaler: a field that was applied
    and is left out goes back to its default, 1. At 0 an autoscaler does nothing, so it starts from its minimum.
    A workload of another kind takes over the number of the one it replaces."""
    scaling = spec.autoscaling
    if scaling.enabled:
        return (current.asked or scaling.min_replicas) if current and current.replicas_applied else None
    if spec.replicas is not None:
        return spec.replicas
    before = current or replaced
    return before.asked if before else 1


def build_decision(facts: Facts, digest: str) -> Decision:
    """Today's decision; call it only when no check objects."""
    shape = plan_shape(facts.spec.demand)
    assert isinstance(shape, Shape)
    cache = facts.observed.cache
    return Decision(
        kind=facts.kind,
        shape=shape,
        launch=launch_mode(facts.spec),
        command=_command(facts, shape),
        claim=cache.claim if cache else "",
        path=f"{MODEL_STORE}/{cache.path}" if cache else "",
        sharing=facts.spec.sharing or Sharing(facts.settings.sharing),
        digest=digest,
    )


def launch_mode(spec: InferenceServiceSpec) -> LaunchMode:
    if not spec.distributed.enabled:
        return LaunchMode.SINGLE
    if spec.distributed.mpi.enabled:
        return LaunchMode.MPI
    return LaunchMode.RAY if spec.uses_ray else LaunchMode.NATIVE


def _command(facts: Facts, shape: Shape) -> CommandLine:
    """vLLM's command line: the model is a folder of the volume, else the id that vLLM fetches itself."""
    spec, cache = facts.spec, facts.observed.cache
    return build_command_line(
        EngineSpec(
            model=f"{MODEL_STORE}/{cache.path}" if cache else spec.model.name,
            served_name=spec.model.name,
            precision=spec.model.precision,
            max_tokens=spec.model.max_tokens,
            temperature=spec.model.temperature,
            shape=EngineShape(shape.tensor, shape.pipeline, shape.data),
            nodes=shape.nodes,
            engine_args=spec.engine_args,
            env=spec.vllm.env_vars,
            port=HTTP_PORT,
            drain_seconds=whole_seconds(facts.settings.drain),
        )
    )


def _first(checks: tuple[Check, ...], facts: Facts) -> Finding | None:
    return next((finding for check in checks if (finding := check(facts))), None)


def _configuration(message: str) -> Finding:
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def name_too_long(facts: Facts) -> Finding | None:
    """Bounds that admission checks too; objects stored before may break them."""
    name, spec = facts.identity.name, facts.spec
    limit, why = NAME_LIMIT, "pods' names and labels"
    if spec.distributed.enabled:
        limit, why = DISTRIBUTED_NAME_LIMIT, "LeaderWorkerSet's labels"
    if spec.model.source:
        limit, why = SOURCE_NAME_LIMIT, "the ModelCache and its Job"
    if len(name) <= limit:
        return None
    return _configuration(f"the name has {len(name)} characters; {why} leave room for {limit}")


def kind_missing(facts: Facts) -> Finding | None:
    """A child of a kind that the controller does not list must not be emitted."""
    if facts.kind is WorkloadKind.DEPLOYMENT or facts.observed.distributed_possible:
        return None
    message = (
        "distributed.enabled needs LeaderWorkerSet, which this installation does not manage: install LWS and add the "
        "kustomize component metacontroller/lws, or set distributed.enabled to false"
    )
    return Finding(ErrorClass.EXTERNAL, Reason.MISSING_CAPABILITY, message)


def shape_impossible(facts: Facts) -> Finding | None:
    shape = plan_shape(facts.spec.demand)
    return _configuration(shape.message) if isinstance(shape, Impossible) else None


def launch_contradiction(facts: Facts) -> Finding | None:
    """mpirun and Ray both want to be the launcher; Ray needs a group."""
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


def arguments_wrong(facts: Facts) -> Finding | None:
    """Mistyped known arguments and those the operator owns stop vLLM's start, so they stop here."""
    shape = plan_shape(facts.spec.demand)
    if isinstance(shape, Impossible):
        return None
    errors = [item for item in _command(facts, shape).findings if item.severity is Severity.ERROR]
    return _configuration("; ".join(f"{item.path}: {item.message}" for item in errors)) if errors else None


def cache_missing(facts: Facts) -> Finding | None:
    """A ModelCache that the user names must be there; the one for model.source is made by this service."""
    name = facts.spec.storage.model_cache
    if not name or facts.observed.cache:
        return None
    message = f"ModelCache {name} does not exist in namespace {facts.identity.namespace}: create it"
    return Finding(ErrorClass.TRANSIENT, Reason.MODEL_NOT_FOUND, message)


def cache_not_ready(facts: Facts) -> Finding | None:
    """GPUs are taken only when the weights are there."""
    cache = facts.observed.cache
    if cache is None:
        waiting = facts.spec.model.source is not None
        return Finding(ErrorClass.TRANSIENT, Reason.PENDING, "its ModelCache is being made") if waiting else None
    if cache.usable:
        return None
    progress = f" ({cache.progress}%)" if cache.progress is not None else ""
    said = f": {cache.message}" if cache.message else ""
    message = f"waits for ModelCache {cache.name}, which is {cache.phase}{progress}{said}"
    failed = cache.phase == "Failed"
    error, reason = (ErrorClass.EXTERNAL, Reason.FAILED) if failed else (ErrorClass.TRANSIENT, Reason.PENDING)
    return Finding(error, reason, message)


BLOCKERS: tuple[Check, ...] = (
    name_too_long,
    kind_missing,
    shape_impossible,
    launch_contradiction,
    arguments_wrong,
)
WAITS: tuple[Check, ...] = (cache_missing, cache_not_ready)
