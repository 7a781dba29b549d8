"""Reading a cluster through the kubernetes library: plain JSON, and sentences for what goes wrong. It never writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from app.cli.errors import CliError

_SECONDS = 30.0
_PAGE = 500


class Cluster:
    """One API server, as one user."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self.namespace = namespace
        """Of the kubeconfig's context."""

    @classmethod
    def connect(cls, kubeconfig: Path | None, context: str | None) -> Cluster:
        """As kubectl finds it: the option, KUBECONFIG, ~/.kube/config. Nothing is sent yet."""
        settings, file = Configuration(), str(kubeconfig) if kubeconfig else None
        try:
            config.load_kube_config(config_file=file, context=context, client_configuration=settings)
            contexts, active = config.list_kube_config_contexts(config_file=file)
        except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
            raise CliError(
                f"no cluster to ask: {' '.join(str(error).split())} Give --nodes to plan without a cluster."
            ) from None
        chosen = next((it for it in contexts if it["name"] == context), active)
        settings.retries = False
        return cls(ApiClient(settings), str(chosen.get("context", {}).get("namespace") or "default"))

    def find(self, path: str) -> dict[str, Any] | None:
        """One object; None when it, or its kind, is not there."""
        return self._get(path, {})

    def list(self, path: str, kind: str) -> list[dict[str, Any]] | None:
        """All objects, page by page; None when the kind is not there. Items get their kind, which lists leave out."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(_PAGE)}
        while True:
            page = self._get(path, query)
            if page is None:
                return None
            found += [{"apiVersion": page.get("apiVersion"), "kind": kind} | item for item in page.get("items") or []]
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return found
            query = {"limit": str(_PAGE), "continue": following}

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        call = self._client.param_serialize(
            "GET",
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(*call, _request_timeout=_SECONDS)
            body = answer.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise CliError(f"the API server does not answer: {_reason(error)}") from None
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise CliError(f"the API server refuses to read {path}: {_message(body)}")
        content = orjson.loads(body)
        return content if isinstance(content, dict) else None


def _message(body: bytes) -> str:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:200].decode(errors="replace")
    return str(status.get("message", status)) if isinstance(status, dict) else str(status)


def _reason(error: Exception) -> str:
    text = " ".join(str(getattr(error, "reason", None) or error).split())
    return text or type(error).__name__
