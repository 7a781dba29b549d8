"""What helps to find out why a cluster did not do what it should: objects, events and logs, in one folder."""

from __future__ import annotations

from pathlib import Path

from tools.sandbox.deployed.kubectl import CommandError, Kubectl

KINDS = "all,pvc,pv,nodes,jobs,leaderworkersets,amd-inference,amd-gpus,networkpolicies"
SYSTEM = ("inference-system", "metacontroller", "lws-system")


def collect(kubectl: Kubectl, folder: Path) -> Path:
    """Fill `folder`; what cannot be had is left out, with the reason in its place.

    Secrets are not read. Logs are those of the pods of SYSTEM, of this run of each container and of the one before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "summary.txt": ("get", KINDS, "--all-namespaces", "--output=wide"),
        "objects.yaml": ("get", KINDS, "--all-namespaces", "--output=yaml"),
        "events.txt": ("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"),
        "describe.txt": ("describe", "pods", "--namespace=inference-system"),
    }
    for name, argv in written.items():
        (folder / name).write_text(_try(kubectl, *argv))
    for namespace in SYSTEM:
        for pod in _try(kubectl, "get", "pods", f"--namespace={namespace}", "--output=name").split():
            if not pod.startswith("pod/"):
                continue
            stem = folder / f"{namespace}.{pod.removeprefix('pod/')}"
            for suffix, more in ((".log", ()), (".previous.log", ("--previous",))):
                text = _try(kubectl, "logs", f"--namespace={namespace}", pod, "--all-containers", "--timestamps", *more)
                stem.with_name(stem.name + suffix).write_text(text)
    return folder


def _try(kubectl: Kubectl, *argv: str) -> str:
    try:
        return kubectl.run(*argv, timeout=120)
    except CommandError as error:
        return f"# {error}\n"
