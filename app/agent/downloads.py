"""Why the pods of downloads do not run -> an annotation on their Jobs, which the hook of ModelCache quotes.

A pod says itself that no node takes it or that its image is missing. What keeps a volume from it, and a Job from making
it, stands in events alone: FailedMount, FailedAttachVolume (Multi-Attach), ProvisioningFailed, FailedCreate (quota).
Events are kept for an hour after their cause is gone, so they count only while a pod has not started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.agent.facts import Fact, Json, Key, parse_identity
from app.agent.failure import ENDED, MESSAGE_LIMIT, find_failure, normalised
from app.agent.patch import Patch, Target, merge_patch
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.names import PROBLEM_ANNOTATION

EVENT_REASONS = ("FailedCreate", "FailedMount", "FailedAttachVolume", "ProvisioningFailed")
JOB_LABEL = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, slots=True)
class DownloadJob(Fact):
    over: bool
    problem: str
    """The annotation as it stands."""


@dataclass(frozen=True, slots=True)
class DownloadPod(Fact):
    """A pod of a download that has not ended."""

    job: str
    started: bool
    problem: str
    """What its own status says."""
    claims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Warned(Fact):
    """An event."""

    kind: str
    about: str
    """Name of the object of that kind, of the event's namespace."""
    text: str


def parse_job(item: Json) -> DownloadJob:
    ends = {"Complete", "Failed"}
    conditions = mappings_at(item, "status", "conditions")
    over = any(it.get("type") in ends and it.get("status") == "True" for it in conditions)
    return DownloadJob(
        *parse_identity(item), over=over, problem=text_at(item, "metadata", "annotations", PROBLEM_ANNOTATION)
    )


def parse_download_pod(item: Json) -> DownloadPod | None:
    phase = text_at(item, "status", "phase")
    if phase in ENDED or "deletionTimestamp" in mapping_at(item, "metadata"):
        return None
    failure = find_failure(item)
    claims = (text_at(it, "persistentVolumeClaim", "claimName") for it in mappings_at(item, "spec", "volumes"))
    return DownloadPod(
        *parse_identity(item),
        job=text_at(item, "metadata", "labels", JOB_LABEL),
        started=phase == "Running",
        problem=f"{failure.reason}: {failure.message}" if failure else "",
        claims=tuple(claim for claim in claims if claim),
    )


def parse_event(item: Json) -> Warned | None:
    reason = text_at(item, "reason")
    if reason not in EVENT_REASONS:
        return None
    text = f"{reason}: {normalised(text_at(item, 'message'))}"
    kind, name = text_at(item, "involvedObject", "kind"), text_at(item, "involvedObject", "name")
    return Warned(*parse_identity(item), kind=kind, about=name, text=text)


def plan_problems(
    jobs: Mapping[Key, DownloadJob], pods: Iterable[DownloadPod], events: Iterable[Warned]
) -> list[Patch]:
    """Patches of the Jobs whose annotation is not what is known of their pods."""
    of_job: dict[Key, list[DownloadPod]] = {}
    for pod in pods:
        of_job.setdefault((pod.namespace, pod.job), []).append(pod)
    said: dict[tuple[str, str, str], str] = {}
    for event in sorted(events, key=lambda it: it.version):
        said[(event.namespace, event.kind, event.about)] = event.text
    patches = (_patch(job, find_problem(job, of_job.get(key, ()), said)) for key, job in sorted(jobs.items()))
    return [patch for patch in patches if patch]


def find_problem(job: DownloadJob, pods: Sequence[DownloadPod], said: Mapping[tuple[str, str, str], str]) -> str:
    """Why no pod of the Job runs; "" when one does, none is needed, or nothing is known."""
    if job.over or any(pod.started for pod in pods):
        return ""
    if not pods:
        return _short(said.get((job.namespace, "Job", job.name), ""))
    pod = min(pods, key=lambda it: it.name)
    volumes = (
        f"PersistentVolumeClaim {claim}: {text}"
        for claim in pod.claims
        if (text := said.get((pod.namespace, "PersistentVolumeClaim", claim)))
    )
    parts = (pod.problem, said.get((pod.namespace, "Pod", pod.name), ""), *volumes)
    return _short("; ".join(part.rstrip(". ") for part in parts if part))


def _patch(job: DownloadJob, problem: str) -> Patch | None:
    if problem == job.problem:
        return None
    return merge_patch(Target.JOB, job, {"metadata": {"annotations": {PROBLEM_ANNOTATION: problem or None}}})


def _short(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else f"{text[: MESSAGE_LIMIT - 4].rstrip()} ..."
