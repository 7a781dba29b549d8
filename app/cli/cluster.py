"""Reading an API server as the user of a kubeconfig. Nothing is written: what is sent to be checked is a dry run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config

from app.cli.inputs import InputError
from app.kube.lenient import mappings_at, text_at
from app.kube.manifest import Manifest

PAGE = 500
"""Objects of one request."""
SECONDS = (5.0, 60.0)
"""Until a connection is there, and until an answer is."""
NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
FORBIDDEN, NOT_FOUND, INVALID = 403, 404, 422


class ForbiddenError(InputError):
    """The user may not do this. Callers that can do without say what they could not see."""


class Cluster:
    """One API server, as one user."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        configuration = Configuration()
        configuration.retries = urllib3.Retry(0)
        try:
            load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
            contexts, active = list_kube_config_contexts(config_file=kubeconfig)
        except (ConfigException, OSError) as error:
            raise InputError(
                f"there is no cluster to look at: {str(error).rstrip('. ')}. Give --kubeconfig or --context, or "
                "--nodes FILE for a plan without a cluster"
            ) from None
        chosen = next((it for it in contexts if it["name"] == context), active)
        self.namespace = text_at(chosen, "context", "namespace") or "default"
        self._server, self._client = configuration.host, ApiClient(configuration)

    def find(self, path: str) -> Manifest | None:
        """One object; None when it is not there, or nothing of its kind can be."""
        found = self._ask("GET", path)
        return found if isinstance(found, dict) else None

    def list(self, path: str, names_only: bool = False) -> list[Manifest] | None:
        """All objects of a kind; None when the API server does not know the kind."""
        pages = list(self._pages(path, NAMES_ONLY if names_only else "application/json"))
        return None if None in pages else [dict(it) for page in pages for it in mappings_at(page, "items")]

    def check(self, method: str, path: str, body: Manifest) -> Manifest:
        """What the API server would keep of an object: its defaults, schema and rules. It keeps nothing."""
        answer = self._ask(method, f"{path}?dryRun=All&fieldManager=kubectl-inference", body=body)
        if not isinstance(answer, dict):
            raise InputError(f"the API server does not know {path}: is the operator installed?")
        return answer

    def _pages(self, path: str, accept: str) -> Iterator[Any]:
        more = ""
        while True:
            query = {"limit": str(PAGE)} | ({"continue": more} if more else {})
            page = self._ask("GET", f"{path}?{urlencode(query)}", accept)
            yield page
            more = text_at(page, "metadata", "continue")
            if not more:
                return

    def _ask(self, method: str, path: str, accept: str = "application/json", body: Any = None) -> Any:
        headers: dict[str, Any] = {"Accept": accept, "Content-Type": "application/json"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            response = self._client.call_api(
                method, self._server + path, header_params=headers, body=body, _request_timeout=SECONDS
            )
            content = response.read()
        except ApiException as error:
            raise self._failed(path, error.status or 0, str(error.reason)) from None
        except urllib3.exceptions.HTTPError as error:
            raise InputError(f"the API server {self._server} cannot be reached: {_cause(error)}") from None
        if response.status == NOT_FOUND:
            return None
        if response.status >= 400:
            raise self._failed(path, response.status, _message(content))
        return orjson.loads(content)

    def _failed(self, path: str, code: int, message: str) -> InputError:
        if code == FORBIDDEN:
            return ForbiddenError(f"you may not: {message}")
        if code == INVALID:
            return InputError(f"the API server refuses it: {message}")
        return InputError(f"{self._server}{path.partition('?')[0]} answered {code}: {message}")


def _message(content: bytes) -> str:
    try:
        found: Mapping[str, Any] = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content[:200].decode(errors="replace")
    return text_at(found, "message")


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error)
