"""kubectl on the cluster that a kubeconfig names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.sandbox.api import Object
from tools.sandbox.binaries import KUBECTL, ensure_binaries

PATIENCE_SECONDS = 900.0
"""How long one command may take; a rollout says sooner what it waits for."""


class CommandError(RuntimeError):
    """A program ended with another status than 0; the message has the command and what it said."""


def run(command: Sequence[str | Path], *, text: str | None = None, timeout: float = PATIENCE_SECONDS) -> str:
    """What a program prints. Raises CommandError."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=timeout)
    except FileNotFoundError as error:
        raise CommandError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(words)} was not done after {timeout:.0f} s") from error
    if done.returncode:
        raise CommandError(f"{' '.join(words)} failed:\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Kubectl:
    """Commands to one cluster. Every method raises CommandError."""

    program: Path
    kubeconfig: Path | None = None
    """None: what $KUBECONFIG or ~/.kube/config names."""

    @classmethod
    def find(cls, kubeconfig: Path | None = None) -> Kubectl:
        """With the version that the sandbox pins, built on first use."""
        return cls(ensure_binaries(tools=(KUBECTL,))["kubectl"], kubeconfig)

    @property
    def command(self) -> list[str]:
        return [str(self.program), *([f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else [])]

    def run(self, *argv: str, text: str | None = None, timeout: float = PATIENCE_SECONDS) -> str:
        return run([*self.command, *argv], text=text, timeout=timeout)

    def apply(self, objects: Sequence[Object]) -> None:
        content = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--server-side", "--force-conflicts", "--filename=-", text=json.dumps(content))

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        where = [f"--namespace={namespace}"] if namespace else []
        found = self.run("get", _word(api_version, kind), name, *where, "--ignore-not-found", "--output=json")
        return dict(json.loads(found)) if found.strip() else None

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a namespace; of all without one."""
        where = f"--namespace={namespace}" if namespace else "--all-namespaces"
        answer: dict[str, Any] = json.loads(self.run("get", _word(api_version, kind), where, "--output=json"))
        return list(answer["items"])


def _word(api_version: str, kind: str) -> str:
    """`Kind.version.group`, by which kubectl takes no other group's kind of that name."""
    group, _, version = api_version.rpartition("/")
    return f"{kind}.{version}.{group}" if group else kind
