"""Why the pods of downloads do not run -> an annotation on their Jobs, which the hook of ModelCache quotes.

A pod says itself that no node takes it or that its image is missing. What keeps a volume from it, and a Job from making
it, stands in events alone: FailedMount, FailedAttachVolume (Multi-Attach), ProvisioningFailed, FailedCreate (quota).
Events are kept for an hour after their cause is gone, so they count only while a pod has not started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.agent.events import find_recent, find_texts
from app.agent.failure import ENDED, MESSAGE_LIMIT, find_failure
from app.agent.patch import Patch, Target, merge_patch
from app.agent.snapshot import CachedObject, Json, Key, Warnings, find_claims, parse_identity
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.names import PROBLEM_ANNOTATION

JOB_LABEL = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, slots=True)
class DownloadJob(CachedObject):
    over: bool
    problem: str
    """The annotation as it stands."""


@dataclass(frozen=True, slots=True)
class DownloadPod(CachedObject):
    """A pod of a download that has not ended."""

    job: str
    started: bool
    problem: str
    """What its own status says."""
    claims: tuple[str, ...]


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
    return DownloadPod(
        *parse_identity(item),
        job=text_at(item, "metadata", "labels", JOB_LABEL),
        started=phase == "Running",
        problem=f"{failure.reason}: {failure.message}" if failure else "",
        claims=find_claims(item),
    )


def plan_problems(jobs: Mapping[Key, DownloadJob], pods: Iterable[DownloadPod], warned: Warnings) -> list[Patch]:
    """Patches of the Jobs whose annotation is not what is known of their pods."""
    of_job: dict[Key, list[DownloadPod]] = {}
    for pod in pods:
        of_job.setdefault((pod.namespace, pod.job), []).append(pod)
    patches = (_patch(job, find_problem(job, of_job.get(key, ()), warned)) for key, job in sorted(jobs.items()))
    return [patch for patch in patches if patch]


def find_problem(job: DownloadJob, pods: Sequence[DownloadPod], warned: Warnings) -> str:
    """Why no pod of the Job runs; "" when one does, none is needed, or nothing is known."""
    if job.over or any(pod.started for pod in pods):
        return ""
    if not pods:
        refused = find_recent(warned, (job.namespace, "Job", job.name), job.uid)
        return _short(refused[-1].text) if refused else ""
    pod = min(pods, key=lambda it: it.name)
    volumes = (
        f"PersistentVolumeClaim {claim}: {text}"
        for claim in pod.claims
        for text in find_texts(warned, (pod.namespace, "PersistentVolumeClaim", claim))
    )
    parts = (pod.problem, *find_texts(warned, (pod.namespace, "Pod", pod.name), pod.uid), *volumes)
    return _short("; ".join(part.rstrip(". ") for part in parts if part))


def _patch(job: DownloadJob, problem: str) -> Patch | None:
    if problem == job.problem:
        return None
    return merge_patch(Target.JOB, job, {"metadata": {"annotations": {PROBLEM_ANNOTATION: problem or None}}})


def _short(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else f"{text[: MESSAGE_LIMIT - 4].rstrip()} ..."
