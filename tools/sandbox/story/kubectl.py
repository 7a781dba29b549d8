"""kubectl in the hands of whoever the story is about."""

from __future__ import annotations

import subprocess

from tools.sandbox.node.world import World
from tools.sandbox.story.watch import StepFailedError

OWN = {
    "configmap/kube-root-ca.crt",
    "serviceaccount/default",
}
"""What every namespace has."""
PASSING = {"events", "events.events.k8s.io"}
"""What Kubernetes itself forgets after a while."""


def kubectl(world: World, *argv: str) -> str:
    command = [str(world.kubectl), f"--kubeconfig={world.cluster.kubeconfig}", *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    if done.returncode:
        raise StepFailedError(f"kubectl {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def everything(world: World, namespace: str) -> set[str]:
    """All objects of a namespace, of whatever kind, but those that every namespace has."""
    kinds = set(kubectl(world, "api-resources", "--namespaced", "--verbs=list", "-o", "name").split()) - PASSING
    found = kubectl(world, "get", ",".join(sorted(kinds)), "-n", namespace, "-o", "name", "--ignore-not-found")
    return set(found.split()) - OWN
