"""How the agent finds its API server, and whether it can work with it: a wrong start is one sentence.

The order is that of other controllers: --kubeconfig, then KUBECONFIG, then the pod's service account, then
~/.kube/config.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME

from app.agent.io.api import NOT_FOUND, Api, ApiError
from app.agent.io.lease import LEASE
from app.agent.io.resources import lease_path

DEFAULT_FILE = Path("~/.kube/config")
ANSWER_SECONDS = 15.0
"""How long the API server may take to answer at all: it may be starting too."""
PAUSE_SECONDS = 1.0
UNAUTHORIZED, FORBIDDEN = 401, 403


class StartError(Exception):
    """The agent cannot start; the text says what to change."""


_MISSTEPS = (AttributeError, IndexError, KeyError, TypeError)
"""Of the library in a file that is YAML and something else; their texts are about its code."""
_NO_CONFIG = "it is no kubeconfig, which has clusters, users, contexts and a current-context"


async def connect(kubeconfig: Path | None, environment: Mapping[str, str]) -> Api:
    """The API server by the first of the sources that is there. Nothing is sent to it yet."""
    configuration = Configuration()
    try:
        source = await _load(configuration, kubeconfig, environment)
    except StartError:
        raise
    except Exception as error:  # the library fails with whatever a misshapen file leads it to
        reason = _NO_CONFIG if isinstance(error, _MISSTEPS) else str(error).splitlines()[0] or type(error).__name__
        raise StartError(f"{_name(kubeconfig, environment)} cannot be used: {reason}") from error
    try:
        return Api(configuration)
    except (OSError, ValueError) as error:  # certificates are read here
        raise StartError(f"{source} cannot be used: {error}") from error


async def _load(configuration: Configuration, kubeconfig: Path | None, environment: Mapping[str, str]) -> str:
    """Fill the configuration, and name where it is from."""
    source = _name(kubeconfig, environment)
    if files := str(kubeconfig or environment.get("KUBECONFIG") or ""):
        await _load_files(configuration, files, source)
    elif environment.get(SERVICE_HOST_ENV_NAME):
        load_incluster_config(client_configuration=configuration)
    elif DEFAULT_FILE.expanduser().exists():
        await _load_files(configuration, str(DEFAULT_FILE), source)
    else:
        raise StartError(
            "there is no cluster to work on: give --kubeconfig, set KUBECONFIG, or run in a pod with a service account"
        )
    return source


async def _load_files(configuration: Configuration, files: str, source: str) -> None:
    """Several files may be named, separated as in PATH."""
    if not any(Path(file).expanduser().exists() for file in files.split(":") if file):
        raise StartError(f"{source} does not exist")
    await load_kube_config(config_file=files, client_configuration=configuration, persist_config=False)


def _name(kubeconfig: Path | None, environment: Mapping[str, str]) -> str:
    if kubeconfig:
        return f"the file {kubeconfig} of --kubeconfig"
    if files := environment.get("KUBECONFIG"):
        return f"the file {files} of KUBECONFIG"
    return "the pod's service account" if environment.get(SERVICE_HOST_ENV_NAME) else f"the file {DEFAULT_FILE}"


async def check(api: Api, namespace: str, seconds: float = ANSWER_SECONDS) -> None:
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
