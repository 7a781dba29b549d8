"""What a failing readiness probe says of a pod that runs: the image's check that fails -> why the pod is not ready.

While a container runs, its termination message is not seen; what its probes print stands only in the kubelet's events
of the reason Unhealthy, all checks in one text: "Readiness probe failed: gpu_available: ok api_responsive: ok
engine_progress: 1 request runs, and no step has ended for 150 s".
"""

from __future__ import annotations

import re

from app.agent.failure import Failure, PodReason, normalised
from app.contracts.crash import find_cause
from app.kube.conditions import ErrorClass

_PROBE = re.compile(r"Readiness probe failed: (?P<said>.+)", re.S)
_BETWEEN = re.compile(r"(?<!\s)\s+(?=[a-z]+_[a-z]+: )")
_CHECK = re.compile(r"(?P<name>[a-z]+_[a-z]+): (?!ok$|unknown: )\S")
_CLASSES = {"gpu_available": ErrorClass.EXTERNAL}
"""Of a device that is missing; an engine that hangs or does not answer may go on, or starts again."""


def find_probe_failure(text: str) -> Failure | None:
    """The first check that fails in an event's message, its lines kept or not; None where no check of the images'
    `health-check` is told."""
    found = _PROBE.search(text)
    for part in _BETWEEN.split(found["said"].strip()) if found else ():
        if check := _CHECK.match(part):
            said = "; ".join(filter(None, (normalised(part).rstrip(". "), find_cause(part).advice)))
            error = _CLASSES.get(check["name"], ErrorClass.TRANSIENT)
            return Failure(PodReason.UNHEALTHY, error, f"The readiness probe fails: {said}.")
    return None
