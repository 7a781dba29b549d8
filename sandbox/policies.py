"""The policies of deploy/policies in the sandbox: what the operator's accounts may write, beyond RBAC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sandbox.api import Object, read_objects

POLICIES = Path(__file__).parent.parent / "deploy" / "policies"
PARAMETERS = "ConfigMap"
HOST_PATHS = "INFERENCE_HOST_PATH_PREFIXES"


def policies(settings: Mapping[str, str]) -> list[Object]:
    """Policies, bindings and their parameters, which follow the settings as an administrator would make them."""
    found = read_objects(POLICIES)
    for item in found:
        if item["kind"] == PARAMETERS:
            item["data"] = {HOST_PATHS: settings.get(HOST_PATHS, "")}
    return found
