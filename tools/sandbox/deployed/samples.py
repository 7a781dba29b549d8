"""The samples of deploy/examples on a cluster, from apply to Ready, and away again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tools.sandbox.api import Object
from tools.sandbox.demo import KINDS, Row, all_ready, find_rows, load_examples
from tools.sandbox.deployed.kubectl import Kubectl

Report = Callable[[str], None]
API_VERSION = "inference.ai/v1alpha1"
CHILDREN = (
    ("apps/v1", "Deployment"),
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "Ingress"),
    ("v1", "PersistentVolumeClaim"),
    ("batch/v1", "Job"),
    (API_VERSION, "GPURequest"),
    (API_VERSION, "GPUAllocation"),
)
"""Kinds of what a sample makes."""
SECONDS = 600.0
"""How long samples may take to become Ready, and to go."""
PERIOD_SECONDS = 2.0


class SamplesError(RuntimeError):
    """What was waited for did not come; the message has what was seen last."""


def check_samples(kubectl: Kubectl, report: Report = print, timeout: float = SECONDS) -> None:
    """Raises SamplesError when the samples do not become Ready, run elsewhere than on their nodes, or leave something.

    Namespaces are made where they are missing, and stay.
    """
    examples = load_examples()
    namespaces = sorted({item["metadata"]["namespace"] for item in examples})
    known = {name: _children(kubectl, name) for name in namespaces if kubectl.get("v1", "Namespace", name)}
    missing = [name for name in namespaces if name not in known]
    kubectl.apply([*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": it}} for it in missing), *examples])
    report(f"applied {len(examples)} samples")
    _wait_ready(kubectl, examples, report, timeout)
    groups = check_groups(kubectl.list("v1", "Pod"))
    report(f"all are Ready, with {groups} pods of groups on nodes with GPUs")
    for kind in reversed(KINDS):
        for item in examples:
            if item["kind"] == kind:
                where = f"--namespace={item['metadata']['namespace']}"
                kubectl.run("delete", f"{kind}.v1alpha1.inference.ai", item["metadata"]["name"], where)
    for name in namespaces:
        _wait_gone(kubectl, name, known.get(name, frozenset()), timeout)
    report("all are gone, and left nothing")


def _wait_ready(kubectl: Kubectl, examples: Sequence[Object], report: Report, timeout: float) -> None:
    begun, shown = time.monotonic(), set[Row]()
    while True:
        rows = find_rows(kubectl, examples)
        for row in rows:
            if row not in shown:
                report(f"{time.monotonic() - begun:4.0f} s  {row.kind}/{row.name}  {row.phase}  {row.message}")
        shown.update(rows)
        if all_ready(rows, examples):
            return
        if time.monotonic() - begun > timeout:
            waiting = "\n".join(f"  {it.kind}/{it.name} {it.phase}: {it.message}" for it in rows if not it.ready)
            raise SamplesError(f"not Ready after {timeout:.0f} s:\n{waiting}")
        time.sleep(PERIOD_SECONDS)


def check_groups(pods: Sequence[Object]) -> int:
    """How many pods LeaderWorkerSet made; each must run, with its GPUs, on a node. Raises SamplesError."""
    members = [pod for pod in pods if "leaderworkerset.sigs.k8s.io/name" in (pod["metadata"].get("labels") or {})]
    if not members:
        raise SamplesError("LeaderWorkerSet made no pods")
    for pod in members:
        name, phase, node = pod["metadata"]["name"], pod["status"].get("phase"), pod["spec"].get("nodeName")
        if phase != "Running" or not node:
            raise SamplesError(f"pod {name} is {phase} on {node or 'no node'}; it was to run")
    return len(members)


def _children(kubectl: Kubectl, namespace: str) -> frozenset[str]:
    return frozenset(
        f"{kind}/{item['metadata']['name']}" for api, kind in CHILDREN for item in kubectl.list(api, kind, namespace)
    )


def _wait_gone(kubectl: Kubectl, namespace: str, before: frozenset[str], timeout: float) -> None:
    begun = time.monotonic()
    while left := _children(kubectl, namespace) - before:
        if time.monotonic() - begun > timeout:
            raise SamplesError(f"still in {namespace} after {timeout:.0f} s: {', '.join(sorted(left))}")
        time.sleep(PERIOD_SECONDS)
