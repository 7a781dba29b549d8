"""Spec + observed + settings -> Serve | Wait | Blocked.

Decide once per spec: a workload carries the digest of the part of the spec it was built from. While that matches, it
is answered exactly as last applied, whatever else changed (settings, a newer operator, facts that came late); what
would be built today is only reported. So the order of the policy is: keep what matches, then refuse what cannot be
built, then wait for what is not there yet, then build.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.api.v1alpha1.inferenceservice import DEFAULT_REPLICAS, InferenceServiceSpec, Sharing
from app.contracts.runtime import LaunchMode
from app.fit.parallelism import Parallelism
from app.inferenceservice.checks import BLOCKERS, PREREQUISITES
from app.inferenceservice.engine import launch_mode
from app.inferenceservice.facts import Facts, Identity
from app.inferenceservice.grant import Grant
from app.inferenceservice.model_volume import Store
from app.inferenceservice.observe import WorkloadKind, WorkloadState
from app.inferenceservice.proposal import Proposal, propose
from app.inferenceservice.storage_notes import storage_notes
from app.kube.conditions import ErrorClass, Finding
from app.kube.manifest import annotation
from app.kube.names import DIGEST_ANNOTATION, REPLAN_ANNOTATION, REQUEST_ANNOTATION, SIZE_FROM_SPEC, digest
from app.vllm.command import CommandLine


@dataclass(frozen=True)
class Decision:
    """Everything a workload is built from; nothing in it depends on load, nodes or time."""

    kind: WorkloadKind
    launch: LaunchMode
    command: CommandLine
    grant: Grant
    store: Store | None
    """Where pods find the model; None when vLLM fetches it itself."""
    sharing: Sharing
    digest: str
    """Of the spec."""
    request: str
    """Digest of the GPURequest."""

    @property
    def parallelism(self) -> Parallelism:
        return self.grant.parallelism

    @property
    def claim_of_one_node(self) -> str:
        """The claim that pods of one node alone can mount, "" where there is none."""
        return self.store.claim if self.store and self.store.of_one_node else ""


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
    replicas: int | None
    asks: bool
    """Only the GPUs are missing, so the pool is asked for them."""


@dataclass(frozen=True)
class Blocked:
    """Only an edit, or a change of the cluster, helps. Nothing is touched."""

    finding: Finding


Plan = Serve | Wait | Blocked


def plan_service(facts: Facts) -> Plan:
    """The plan of one sync."""
    current = facts.observed.workload(facts.kind)
    wanted = spec_digest(facts.spec)
    kept = current is not None and _still_wanted(current, wanted, facts.identity)
    current_digest = annotation(current.applied, REQUEST_ANNOTATION) if current and kept else ""
    proposal = propose(facts, current_digest)
    blocked = BLOCKERS.evaluate(proposal)
    missing = blocked or PREREQUISITES.evaluate(proposal)
    outcome = missing or _decide(proposal, wanted)
    decision, problem = (None, outcome) if isinstance(outcome, Finding) else (outcome, None)
    warnings = _warnings(proposal, decision)
    if current and kept:
        warnings += (
            (f"it runs as it was started, though today it would be refused: {blocked.message}",) if blocked else ()
        )
        obstacle = problem.message if problem else ""
        return Serve(decision, current, plan_replicas(facts.spec, current), warnings, obstacle)
    if problem and (blocked or problem.error is ErrorClass.PERMANENT):
        return Blocked(problem)
    replicas = plan_replicas(facts.spec, current, next(iter(facts.observed.workloads), None))
    if problem:
        return Wait(problem, replicas, asks=not missing)
    return Serve(decision, None, replicas, warnings)


def _warnings(proposal: Proposal, decision: Decision | None) -> tuple[str, ...]:
    """What does not stop anything, but is not as it was written. Arguments are told of also while nothing can be
    decided, as after a crash whose GPUs are asked for again."""
    facts = proposal.facts
    engine = [f"{item.path}: {item.message}" for item in proposal.command.findings]
    unchecked = [decision.grant.note] if decision and decision.grant.note else []
    storage = storage_notes(facts.spec, decision.store) if decision else ()
    return (*engine, *_size_warnings(facts), *storage, *unchecked)


def _size_warnings(facts: Facts) -> list[str]:
    """A number that does not act; 1 may stand there because nobody wrote another."""
    spec, current = facts.spec, facts.observed.workload(facts.kind)
    if spec.autoscaling.enabled:
        given = spec.replicas not in (None, DEFAULT_REPLICAS)
        return ["replicas: ignored while autoscaling is enabled"] if given else []
    if spec.replicas is None or not current or not may_be_default(spec, current):
        return []
    return [
        f"replicas: {current.asked} groups were asked for by somebody else and stay, because the API server writes "
        f"{DEFAULT_REPLICAS} where the field is left out: set replicas to {current.asked} to keep them; for one group, "
        f"set another number first and then {DEFAULT_REPLICAS}"
    ]


_NOT_OF_PODS = {"pool", "priority"}
"""Who decides and in which order: services move between pools, and up and down the line, while they run."""


def spec_digest(spec: InferenceServiceSpec) -> str:
    """Sixteen hexadecimal digits over the part of the spec that pods depend on; values equal to defaults are left
    out and both spellings are one, so neither an unrelated edit nor a field that a later version adds changes it."""
    part = spec.canonical().model_dump(
        mode="json",
        by_alias=True,
        exclude_defaults=True,
        include={"model", "vllm", "resources", "distributed", "storage"},
        exclude={"resources": _NOT_OF_PODS},
    )
    return digest(part)


def _still_wanted(current: WorkloadState, wanted: str, identity: Identity) -> bool:
    """Same spec, and no replan asked for that was not taken yet. Removing the annotation is no request."""
    taken = annotation(current.applied, REPLAN_ANNOTATION)
    return annotation(current.applied, DIGEST_ANNOTATION) == wanted and identity.replan in ("", taken)


def plan_replicas(
    spec: InferenceServiceSpec, current: WorkloadState | None, replaced: WorkloadState | None = None
) -> int | None:
    """Groups to ask for. Once a number was applied it must be echoed under an autoscaler: a field that was applied
    and is left out goes back to its default, 1. At 0 an autoscaler does nothing, so it starts from its minimum.
    A workload of another kind takes over the number of the one it replaces, under an autoscaler too."""
    scaling, before = spec.autoscaling, current or replaced
    if scaling.enabled:
        applied = before and (current is None or current.replicas_applied)
        return (before.asked or scaling.min_replicas) if before and applied else None
    if before and may_be_default(spec, before):
        return before.asked
    return DEFAULT_REPLICAS if spec.replicas is None else spec.replicas


def may_be_default(spec: InferenceServiceSpec, before: WorkloadState) -> bool:
    """Whether the spec's number may be what the API server filled in, beside a number that an autoscaler or a person
    gave the workload: an upgrade, or switching autoscaling off, must not stop groups that serve."""
    if spec.replicas is None:
        return True
    return spec.replicas == DEFAULT_REPLICAS and not before.follows_spec and before.asked != DEFAULT_REPLICAS


def size_source(spec: InferenceServiceSpec, replicas: int | None, kept: WorkloadState | None) -> str:
    """Where the number that is asked for comes from, as the workload's annotation tells it; "" = not from the spec.
    A workload that somebody else may scale does not become the spec's because both happen to say 1."""
    asked = DEFAULT_REPLICAS if spec.replicas is None else spec.replicas
    if spec.autoscaling.enabled or replicas != asked:
        return ""
    ours = kept is None or kept.follows_spec or asked != DEFAULT_REPLICAS
    return SIZE_FROM_SPEC if ours else ""


def _decide(proposal: Proposal, wanted: str) -> Decision | Finding:
    """Today's decision, or what the GPUs wait for."""
    facts, grant = proposal.facts, proposal.grant
    if isinstance(grant, Finding):
        return grant
    return Decision(
        kind=facts.kind,
        launch=launch_mode(facts.spec),
        command=proposal.command,
        grant=grant,
        store=proposal.store,
        sharing=facts.spec.sharing or Sharing(facts.settings.sharing),
        digest=wanted,
        request=facts.need.digest if facts.need else "",
    )
