"""The policies of deploy/policies in the sandbox: what the operator's accounts may write, beyond RBAC."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from tools.sandbox.api import ApiError, Object, read_objects
from tools.sandbox.cluster import Cluster, wait_until

POLICIES = Path(__file__).parents[2] / "deploy" / "policies"
PARAMETERS = "ConfigMap"
HOST_PATHS = "INFERENCE_HOST_PATH_PREFIXES"


def policies(settings: Mapping[str, str]) -> list[Object]:
    """Policies, bindings and their parameters, which follow the settings as an administrator would make them."""
    found = read_objects(POLICIES)
    for item in found:
        if item["kind"] == PARAMETERS:
            item["data"] = {HOST_PATHS: settings.get(HOST_PATHS, "")}
    return found


def wait_held(cluster: Cluster) -> None:
    """Return once the policies that were applied before this hold, with their parameters.

    The API server takes up policies, bindings and parameters in the order of their writing, a moment later. So one of
    each is written, and once that policy holds, the earlier ones do.
    """
    name = f"sandbox-probe-{secrets.token_hex(4)}"
    parts = _probe(name)
    resource = cluster.api.resource("v1", kind="ConfigMap")
    tried = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-tried", "namespace": "default"}}

    def holds() -> bool:
        try:
            cluster.api.request("POST", resource.path("default"), body=tried, params={"dryRun": "All"})
        except ApiError as error:
            return f"{name} holds" in error.message
        return False

    cluster.apply(parts)
    wait_until(holds, "the policies hold")
    for part in parts:
        cluster.delete(part["apiVersion"], part["kind"], name, part["metadata"].get("namespace"))


def _probe(name: str) -> list[Object]:
    """A parameter, a policy that refuses one ConfigMap when it has that parameter, and its binding."""
    admission = "admissionregistration.k8s.io/v1"
    parameter = {"name": name, "namespace": "default"}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    policy = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "tried", "expression": f"object.metadata.name == '{name}-tried'"}],
        "validations": [{"expression": f"params.metadata.name != '{name}'", "message": f"{name} holds"}],
    }
    bound = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": parameter},
        {"apiVersion": admission, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": policy},
        {
            "apiVersion": admission,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": bound | {"paramRef": parameter | {"parameterNotFoundAction": "Deny"}},
        },
    ]
