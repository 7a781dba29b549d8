"""Whoever answers in the place of the hook service has Metacontroller write; the policies bound what it writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cluster.policies.account import Accounts
from tests.cluster.policies.manifests import RBAC, REF, SUBJECT, TEAM, deployment, privileged, service
from tests.cluster.world import API
from tests.cluster.world import service as inference_service
from tools.sandbox.api import Object
from tools.sandbox.cluster import Cluster, wait_until
from tools.sandbox.metacontroller import USER, Metacontroller
from tools.sandbox.operator import controllers
from tools.sandbox.serving import serving

VICTIM = "kube-system"


def answered(item: Object, **metadata: object) -> Object:
    """A child as a hook answers it: Metacontroller adds the owner."""
    kept = {key: value for key, value in item["metadata"].items() if key not in ("ownerReferences", "labels")}
    return item | {"metadata": kept | metadata}


CHILDREN = [
    answered(privileged(), name="rogue-privileged"),
    answered(deployment(volumes=[{"name": "root", "hostPath": {"path": "/"}}]), name="rogue-root"),
    answered(deployment(serviceAccountName="metacontroller"), name="rogue-account", namespace=VICTIM),
    {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {"name": "rogue-admin", "namespace": VICTIM},
        "roleRef": REF | {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [SUBJECT | {"name": "default"}],
    },
    {
        "apiVersion": RBAC,
        "kind": "Role",
        "metadata": {"name": "rogue-role", "namespace": TEAM},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    },
    answered(service(), name="rogue"),
]


@pytest.fixture(scope="module")
def rogue() -> Iterator[str]:
    """A server that answers every sync with what would give it the cluster."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked = self.path.startswith("/customize")
            body = json.dumps({"relatedResources": []} if asked else {"status": {}, "children": CHILDREN}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


def test_an_answer_that_would_take_the_cluster_makes_nothing_dangerous(
    cluster: Cluster, accounts: Accounts, rogue: str
) -> None:
    since = cluster.now()
    chosen = [it for it in controllers(lws=False) if it["metadata"]["name"] == "inferenceservice"]
    with Metacontroller.start(cluster, chosen, rogue):
        item = inference_service("rogue")
        item["metadata"]["namespace"] = TEAM
        cluster.apply(item)

        def refused() -> set[str]:
            writes = [it for it in cluster.audit_writes(since) if it.user == USER and it.verb == "create"]
            return {it.resource.split(".")[0] for it in writes if it.code == 403}

        wait_until(lambda: {"deployments", "roles", "rolebindings"} <= refused(), "all are tried and refused")
        wait_until(lambda: cluster.get("v1", "Service", "rogue", TEAM) is not None, "the Service is made")
        cluster.delete(API, "InferenceService", "rogue", TEAM)
    for kind, api, names in (
        ("Deployment", "apps/v1", {"rogue-privileged", "rogue-root", "rogue-account"}),
        ("RoleBinding", RBAC, {"rogue-admin"}),
        ("Role", RBAC, {"rogue-role"}),
    ):
        assert names & {it["metadata"]["name"] for it in cluster.list(api, kind)} == set(), kind
