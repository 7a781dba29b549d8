"""Kubeconfig files of the sandbox: a token and a CA, one file per user so that the audit log tells who wrote."""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Access:
    """What a client needs to reach the API server."""

    server: str
    token: str
    ca: str  # PEM

    def ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.ca)


def write_kubeconfig(path: Path, access: Access, user: str) -> Path:
    """Write the file as JSON, which is YAML too."""
    ca = base64.b64encode(access.ca.encode()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sandbox",
        "clusters": [{"name": "sandbox", "cluster": {"server": access.server, "certificate-authority-data": ca}}],
        "users": [{"name": user, "user": {"token": access.token}}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": user}}],
    }
    path.write_text(json.dumps(config, indent=2) + "\n")
    path.chmod(0o600)
    return path


def read_kubeconfig(path: Path) -> Access:
    """Read the current context of a kubeconfig with a bearer token and an inline CA, such as ours."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Access(server=cluster["server"], token=user["token"], ca=ca)


def _named(entries: list[dict[str, dict[str, str]]], name: str) -> dict[str, dict[str, str]]:
    return next(entry for entry in entries if entry["name"] == name)  # type: ignore[comparison-overlap]
