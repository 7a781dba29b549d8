"""How the agent finds its API server, and whether it can work with it: a wrong start is one sentence.

The order is that of other controllers: --kubeconfig, then KUBECONFIG, then the pod's service account, then
~/.kube/config.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from app.agent.election import WRITE_TIMEOUT
from app.agent.io.lease import LEASE
from app.agent.io.resources import lease_path
from app.apiserver.access import HOST, AccessError, in_pod
from app.apiserver.client import FORBIDDEN, NOT_FOUND, UNAUTHORIZED, ApiError, AsyncClient
from app.apiserver.kubeconfig import read_kubeconfig

USER_AGENT = "inference-agent"
"""Also the field manager of what is written."""
DEFAULT_FILE = Path("~/.kube/config")
ANSWER_SECONDS = 15.0
"""How long the API server may take to answer at all: it may be starting too."""
PAUSE_SECONDS = 1.0


class StartError(Exception):
    """The agent cannot start; the text says what to change."""


def connect(kubeconfig: Path | None, environment: Mapping[str, str]) -> AsyncClient:
    """The API server by the first of the sources that is there. Nothing is sent to it yet."""
    files = str(kubeconfig or environment.get("KUBECONFIG") or "")
    in_cluster = not files and bool(environment.get(HOST))
    source = _name(kubeconfig, environment)
    if not files and not in_cluster:
        files = str(DEFAULT_FILE)
        if not DEFAULT_FILE.expanduser().exists():
            raise StartError(
                "there is no cluster to work on: give --kubeconfig, set KUBECONFIG, or run in a pod with a service "
                "account"
            )
    if files and not any(Path(file).expanduser().exists() for file in files.split(":") if file):
        raise StartError(f"{source} does not exist")
    try:
        access = in_pod(environment) if in_cluster else read_kubeconfig(files)
        return AsyncClient(access, USER_AGENT, WRITE_TIMEOUT)
    except (AccessError, ValueError) as error:
        raise StartError(f"{source} cannot be used: {error}") from error


def _name(kubeconfig: Path | None, environment: Mapping[str, str]) -> str:
    if kubeconfig:
        return f"the file {kubeconfig} of --kubeconfig"
    if files := environment.get("KUBECONFIG"):
        return f"the file {files} of KUBECONFIG"
    return "the pod's service account" if environment.get(HOST) else f"the file {DEFAULT_FILE}"


async def check(api: AsyncClient, namespace: str, seconds: float = ANSWER_SECONDS) -> None:
    """Return once the API server has shown this account the place of the Lease. Raises StartError otherwise."""
    until = time.monotonic() + seconds
    while True:
        try:
            await api.get(lease_path(namespace, LEASE), seconds=min(seconds, ANSWER_SECONDS))
            return
        except ApiError as error:
            if error.code == NOT_FOUND:
                return
            if error.code in (UNAUTHORIZED, FORBIDDEN):
                raise StartError(_refusal(error, api.server, namespace)) from error
            if time.monotonic() > until:
                raise StartError(f"the API server {api.server} cannot be reached: {error}") from error
        await asyncio.sleep(PAUSE_SECONDS)


def _refusal(error: ApiError, server: str, namespace: str) -> str:
    if error.code == UNAUTHORIZED:
        return f"the API server {server} does not accept these credentials: {error}"
    return (
        f"the API server {server} does not let this account read Lease {LEASE} in namespace {namespace}: apply "
        f"deploy/base/agent.yaml, or name its namespace by --namespace ({error})"
    )
