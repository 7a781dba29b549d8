"""Reading an API server as the user of a kubeconfig. Nothing is written: what is sent to be checked is a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.apiserver import JSON_TYPE, METADATA_LIST
from app.apiserver.access import AccessError
from app.apiserver.client import FORBIDDEN, INVALID, NOT_FOUND, UNREACHABLE, ApiError, Client
from app.apiserver.kubeconfig import read_kubeconfig
from app.cli.inputs import InputError
from app.kube.lenient import mappings_at
from app.kube.manifest import Manifest

USER_AGENT = "kubectl-inference"
PAGE = 500
"""Objects of one request."""
SECONDS = 60.0
"""Until an answer is there."""


class ForbiddenError(InputError):
    """The user may not do this. Callers that can do without say what they could not see."""


class Cluster:
    """One API server, as one user."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        try:
            access = read_kubeconfig(kubeconfig, context)
        except AccessError as error:
            raise InputError(
                f"there is no cluster to look at: {str(error).rstrip('. ')}. Give --kubeconfig or --context, or "
                "--nodes FILE for a plan without a cluster"
            ) from None
        self.namespace = access.namespace or "default"
        self._client = Client(access, USER_AGENT, SECONDS)

    def find(self, path: str) -> Manifest | None:
        """One object; None when it is not there, or nothing of its kind can be."""
        found = self._ask("GET", path)
        return found if isinstance(found, dict) else None

    def list(self, path: str, names_only: bool = False) -> list[Manifest] | None:
        """All objects of a kind; None when the API server does not know the kind."""
        try:
            pages = list(self._client.pages(path, PAGE, METADATA_LIST if names_only else JSON_TYPE))
        except ApiError as error:
            self._raise_unless_absent(path, error)
            return None
        return [dict(it) for page in pages for it in mappings_at(page, "items")]

    def check(self, method: str, path: str, body: Manifest) -> Manifest:
        """What the API server would keep of an object: its defaults, schema and rules. It keeps nothing."""
        answer = self._ask(method, path, query={"dryRun": "All", "fieldManager": USER_AGENT}, body=body)
        if not isinstance(answer, dict):
            raise InputError(f"the API server does not know {path}: is the operator installed?")
        return answer

    def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        try:
            return self._client.request(method, path, query=query, body=body)
        except ApiError as error:
            self._raise_unless_absent(path, error)
            return None

    def _raise_unless_absent(self, path: str, error: ApiError) -> None:
        """What is not there is no error; everything else is a sentence for the user."""
        if error.code == NOT_FOUND:
            return
        if error.code == UNREACHABLE:
            raise InputError(f"the API server {self._client.server} cannot be reached: {error.message}") from None
        if error.code == FORBIDDEN:
            raise ForbiddenError(f"you may not: {error.message}") from None
        if error.code == INVALID:
            raise InputError(f"the API server refuses it: {error.message}") from None
        where = f"{self._client.server}{path.partition('?')[0]}"
        raise InputError(f"{where} answered {error.code}: {error.message}") from None
