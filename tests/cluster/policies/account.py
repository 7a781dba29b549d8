"""Requests of one account, tried without effect, and why policies refuse them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from tools.sandbox.api import JSON_PATCH, MERGE_PATCH, Api, ApiError, Object
from tools.sandbox.cluster import Cluster
from tools.sandbox.kubeconfig import Access, read_kubeconfig

Fault = str | None


@dataclass(frozen=True)
class Account:
    """Requests of one account; the answer is why they are refused by a policy, None when they are not."""

    api: Api

    def send(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Fault:
        try:
            self.api.request(method, path, body=body, content_type=content_type, params={"dryRun": "All"})
        except ApiError as error:
            if "ValidatingAdmissionPolicy" not in error.message:
                raise
            return error.message
        return None

    def patch(self, path: str, *operations: Object) -> Fault:
        return self.send("PATCH", path, list(operations), JSON_PATCH)

    def merge(self, path: str, body: Object) -> Fault:
        return self.send("PATCH", path, body, MERGE_PATCH)


class Accounts:
    """Opens connections as an account, and closes them in the end."""

    def __init__(self, cluster: Cluster, stack: ExitStack) -> None:
        self._cluster, self._stack = cluster, stack

    def open(self, namespace: str, name: str) -> Account:
        """An account with its token and the rights that it has."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        token = self._cluster.api.request("POST", path, body=body)["status"]["token"]
        return self._open(Access(self._cluster.access.server, token, self._cluster.access.ca))

    def open_metacontroller(self) -> Account:
        return self._open(read_kubeconfig(self._cluster.kubeconfig_of("metacontroller")))

    def _open(self, access: Access) -> Account:
        api = Api(access)
        self._stack.callback(api.close)
        return Account(api)
