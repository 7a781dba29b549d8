"""Why a pod is not ready, as one sentence that stays the same while the cause does.

Kubelet and scheduler repeat themselves in ever new words: a failed pull alternates between two reasons, a crash between
three, and the last lines of a log carry times and process ids. Each cause therefore has one reason here, and what
varies from one attempt to the next is taken out of the sentence (`normalised`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from app.contracts.crash import CauseKind, find_cause
from app.kube.conditions import ErrorClass, find_condition
from app.kube.lenient import count_at, mapping_at, mappings_at, text_at
from app.kube.refusal import find_volume_remedy
from app.policy import Chain

MESSAGE_LIMIT = 480
"""Characters of a sentence: eight of them and their pods' names stay far below etcd's limit for one object."""
ENDED = frozenset({"Succeeded", "Failed"})

Json = Mapping[str, Any]


class PodReason(StrEnum):
    """What keeps a pod from being ready; one line of documentation each."""

    UNSCHEDULABLE = "Unschedulable"  # no node takes it now
    IMAGE_PULL = "ImagePull"  # the image cannot be fetched
    CONFIG_ERROR = "ConfigError"  # a Secret, ConfigMap or key that the container names is missing
    CONTAINER_ERROR = "ContainerError"  # the container runtime cannot create or start the container
    OUT_OF_MEMORY = "OutOfMemory"  # the kernel ended it at its memory limit
    OUT_OF_GPU_MEMORY = "OutOfGPUMemory"  # the process says that GPU memory does not suffice
    UNHEALTHY = "Unhealthy"  # it runs, and its readiness probe says what is wrong
    CRASH_LOOP = "CrashLoop"  # the process ends by itself
    EVICTED = "Evicted"  # the node took it off
    POD_FAILED = "PodFailed"  # kubelet refused or ended the pod
    VOLUME = "Volume"  # a volume cannot be made, attached or mounted
    NOT_CREATED = "NotCreated"  # the pod may not be made: a quota, a policy


@dataclass(frozen=True, slots=True)
class Failure:
    reason: PodReason
    error: ErrorClass
    message: str
    vague: bool = False
    """The cause is not told this time; an earlier sentence with the same reason says more."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container's status."""

    name: str
    image: str
    waiting: str
    waiting_message: str
    ended: Json
    """How it ended, now or before its present attempt; {} when it never did, or has been up since."""
    main: bool
    """No init container: it should never end."""


def find_failure(pod: Json) -> Failure | None:
    """The first cause that explains why this pod is not ready; None when it is, or nothing is known to be wrong."""
    found = _CHECKS.evaluate(pod)
    return found and replace(found, message=_shortened(found.message))


def _ended_by_kubelet(pod: Json) -> Failure | None:
    if text_at(pod, "status", "phase") != "Failed":
        return None
    reason, said = text_at(pod, "status", "reason"), normalised(text_at(pod, "status", "message"))
    if reason == "Evicted":
        return Failure(PodReason.EVICTED, ErrorClass.RESOURCE, _sentence("The node evicted the pod", said))
    if reason:
        return Failure(PodReason.POD_FAILED, ErrorClass.TRANSIENT, _sentence(f"The pod ended: {reason}", said))
    return None


def _unschedulable(pod: Json) -> Failure | None:
    """SchedulingGated is no failure: a gated pod waits for its turn."""
    scheduled = find_condition(mappings_at(pod, "status", "conditions"), "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return None
    said = text_at(scheduled, "message").partition(" preemption:")[0].replace("not found. not found", "not found")
    if _CLAIM.search(said):
        return build_volume_failure("The scheduler finds no node", normalised(said))
    message = _sentence("The scheduler finds no node", normalised(said))
    return Failure(PodReason.UNSCHEDULABLE, ErrorClass.RESOURCE, message)


_CLAIM = re.compile(r"persistentvolumeclaim", re.I)
_BINDING = re.compile(r"VolumeBinding|binding volumes")


def _unbound_volume(pod: Json) -> Failure | None:
    """The scheduler chose a node and waited ten minutes for the volume to be made there."""
    scheduled = find_condition(mappings_at(pod, "status", "conditions"), "PodScheduled")
    said = text_at(scheduled, "message")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "SchedulerError" or not _BINDING.search(said):
        return None
    return build_volume_failure("The scheduler cannot bind the pod's claims", normalised(said))


def build_volume_failure(start: str, said: str) -> Failure:
    """A volume that is missing, as Kubernetes says it, and what to do."""
    remedy = find_volume_remedy(said)
    return Failure(PodReason.VOLUME, remedy.error, advised(start, said, remedy.advice))


def advised(start: str, said: str, advice: str) -> str:
    """A sentence that quotes, and says what to do: the quotation is what gets cut."""
    room = MESSAGE_LIMIT - len(start) - len(advice) - len(": ; .")
    quoted = said.rstrip(". ")
    quoted = quoted if len(quoted) <= room else quoted[: max(0, room - 4)].rstrip() + " ..."
    return _sentence(start, "; ".join(part for part in (quoted, advice) if part))


_PULLS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_WRONG_IMAGE = re.compile(r"not found|denied|unauthorized|InvalidImageName|ErrImageNeverPull|manifest unknown", re.I)
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: (ErrImagePull: )?)?')


def _image_pull(pod: Json) -> Failure | None:
    """A wrong name or a missing permission needs an edit; anything else is the registry's or the network's."""
    for container in _unready(pod):
        if container.waiting in _PULLS:
            cause = normalised(_BACK_OFF.sub("", container.waiting_message))
            wrong = _WRONG_IMAGE.search(f"{container.waiting} {cause}")
            error = ErrorClass.CONFIGURATION if wrong else ErrorClass.EXTERNAL
            start = f"Container {container.name} cannot get its image {container.image}"
            return Failure(PodReason.IMAGE_PULL, error, _sentence(start, cause), vague=not cause)
    return None


def _config_error(pod: Json) -> Failure | None:
    for container in _unready(pod):
        if container.waiting == "CreateContainerConfigError":
            start = f"Container {container.name} names something that is not there"
            message = _sentence(start, normalised(container.waiting_message))
            return Failure(PodReason.CONFIG_ERROR, ErrorClass.CONFIGURATION, message)
    return None


_RUNTIME_ERRORS = frozenset({"CreateContainerError", "RunContainerError", "CreatePodSandboxError"})


def _container_error(pod: Json) -> Failure | None:
    for container in _unready(pod):
        if container.waiting in _RUNTIME_ERRORS:
            start = f"Container {container.name} cannot be started"
            message = _sentence(start, normalised(container.waiting_message))
            return Failure(PodReason.CONTAINER_ERROR, ErrorClass.TRANSIENT, message)
    return None


_CAUSES: Mapping[CauseKind, tuple[PodReason, ErrorClass]] = {
    CauseKind.GPU_MEMORY: (PodReason.OUT_OF_GPU_MEMORY, ErrorClass.RESOURCE),
    CauseKind.RESOURCE: (PodReason.CRASH_LOOP, ErrorClass.RESOURCE),
    CauseKind.CONFIGURATION: (PodReason.CRASH_LOOP, ErrorClass.CONFIGURATION),
    CauseKind.EXTERNAL: (PodReason.CRASH_LOOP, ErrorClass.EXTERNAL),
    CauseKind.TRANSIENT: (PodReason.CRASH_LOOP, ErrorClass.TRANSIENT),
}
_CODES: Mapping[int, ErrorClass] = {
    69: ErrorClass.EXTERNAL,  # of the images' own scripts: a device or a peer is not there
    75: ErrorClass.TRANSIENT,  # something did not come in time
    78: ErrorClass.CONFIGURATION,  # somebody must change something first
    135: ErrorClass.RESOURCE,  # 128 + SIGBUS: shared memory is full
}
_FROM_OUTSIDE = frozenset({0, 137, 143})  # drained, or 128 + SIGKILL or SIGTERM: somebody else ended it


def _crash(pod: Json) -> Failure | None:
    """The same finding while the container waits, starts again and loads: until it is ready, the last end stands."""
    for container in _unready(pod):
        code, reason = count_at(container.ended, "exitCode"), text_at(container.ended, "reason")
        if not container.ended or (code == 0 and not container.main):
            continue
        cause = find_cause(text_at(container.ended, "message"))
        said = "; ".join(part for part in (normalised(cause.text).rstrip(". "), cause.advice) if part)
        if reason == "OOMKilled":
            start = f"Container {container.name} was killed at its memory limit (exit code {code})"
            return Failure(PodReason.OUT_OF_MEMORY, ErrorClass.RESOURCE, _sentence(start, said))
        start = f"Container {container.name} ended with exit code {code}"
        by_code = ErrorClass.TRANSIENT if code in _FROM_OUTSIDE else _CODES.get(code, ErrorClass.PERMANENT)
        kind, error = _CAUSES.get(cause.kind, (PodReason.CRASH_LOOP, by_code))
        return Failure(kind, _CODES.get(code, error), _sentence(start, said), vague=not said)
    return None


_CHECKS = Chain(
    _ended_by_kubelet,
    _unschedulable,
    _unbound_volume,
    _image_pull,
    _config_error,
    _container_error,
    _crash,
)
"""In this order: what ends the whole pod first, then what keeps it from starting, then how it ended."""


def _unready(pod: Json) -> Iterator[Container]:
    """Containers that are not ready, init containers first, in the order of the spec."""
    for kind in ("initContainer", "container"):
        order = [text_at(it, "name") for it in mappings_at(pod, "spec", f"{kind}s")]
        statuses = {text_at(it, "name"): it for it in mappings_at(pod, "status", f"{kind}Statuses")}
        for name in order:
            status = statuses.get(name, {})
            if status.get("ready") is not True:
                yield _container(name, status, main=kind == "container")


def _container(name: str, status: Json, main: bool) -> Container:
    """A running container whose startup probe has passed is past what ended its predecessor."""
    up = status.get("started") is True and bool(mapping_at(status, "state", "running"))
    ended = mapping_at(status, "state", "terminated") or mapping_at(status, "lastState", "terminated")
    return Container(
        name=name,
        image=text_at(status, "image"),
        waiting=text_at(status, "state", "waiting", "reason"),
        waiting_message=text_at(status, "state", "waiting", "message"),
        ended={} if up else ended,
        main=main,
    )


_VOLATILE: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),  # colours
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b(?:\d\d-\d\d )?\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),  # vLLM's own: 10-20 12:34:56
    (re.compile(r"\b(pid|tid|process)([ =:]+)\d+", re.I), r"\1\2<n>"),
    (re.compile(r"\b0x[0-9a-f]{4,}\b", re.I), "<address>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.I), "<id>"),
    (re.compile(r"\bback-off \d+[hms][0-9hms]*"), "back-off"),
    (re.compile(r"\b(\d{1,3}(?:\.\d{1,3}){3}):\d{2,5}(?=->|\b)"), r"\1:<port>"),
    (re.compile(r"\s+"), " "),
)


def normalised(text: str) -> str:
    """A text without what varies from one attempt to the next: times, process ids, addresses, ports, delays."""
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text.strip()


def telling_line(log: str) -> str:
    """The line of a termination message that tells the cause: an exception, else the last line with text."""
    return normalised(find_cause(log).text)


def _sentence(start: str, detail: str) -> str:
    detail = detail.rstrip(". ")
    return f"{start}: {detail}." if detail else f"{start}."


def _shortened(message: str) -> str:
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 4].rstrip() + " ..."


_PROBE = re.compile(r"Readiness probe failed: (?P<said>.+)", re.S)
_BETWEEN = re.compile(r"(?<!\s)\s+(?=[a-z]+_[a-z]+: )")
_CHECK = re.compile(r"(?P<name>[a-z]+_[a-z]+): (?!ok$|unknown: )\S")
_CLASSES = {"gpu_available": ErrorClass.EXTERNAL}
"""Of a device that is missing; an engine that hangs or does not answer may go on, or starts again."""


def find_probe_failure(text: str) -> Failure | None:
    """Why a pod that runs is not ready, as its readiness probe says it in kubelet's event of the reason Unhealthy: the
    only place where what probes print stands, all checks in one text ("Readiness probe failed: gpu_available: ok
    engine_progress: 1 request runs, and no step has ended for 150 s").

    The first check that fails in an event's message, its lines kept or not; None where no check of the images'
    `health-check` is told."""
    found = _PROBE.search(text)
    for part in _BETWEEN.split(found["said"].strip()) if found else ():
        if check := _CHECK.match(part):
            said = "; ".join(filter(None, (normalised(part).rstrip(". "), find_cause(part).advice)))
            error = _CLASSES.get(check["name"], ErrorClass.TRANSIENT)
            return Failure(PodReason.UNHEALTHY, error, f"The readiness probe fails: {said}.")
    return None
