"""Where an API server is, whom it may trust, and as whom it is asked."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account."""
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


class AccessError(Exception):
    """There is no usable access; the text says why."""


@dataclass(frozen=True)
class Access:
    """One API server, as one user."""

    server: str
    """Its URL, without a slash at the end."""
    trust: ssl.SSLContext
    authorize: Callable[[], str]
    """The header Authorization, "" for none. It is asked before each request, for tokens are renewed; OSError where a
    token cannot be read."""
    blocks: bool = False
    """Whether `authorize` may take seconds: it may run a program."""
    namespace: str = ""
    """That of the context or the service account, "" where none is named."""
    proxy: str | None = None
    uses_environment: bool = False
    """Whether the proxies of the environment count. A pod reaches its API server without them."""
    tls_server_name: str = ""
    """The name in the server's certificate, "" for that in the URL."""


def in_pod(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    """The access of the pod's service account. Raises AccessError."""
    host, port = environment.get(HOST, ""), environment.get(PORT) or "443"
    token = account / "token"
    if not host:
        raise AccessError(f"{HOST} is not set")
    try:
        if not token.read_text().strip():
            raise AccessError(f"{token} is empty")
    except OSError as error:
        raise AccessError(f"{token}: {error.strerror or error}") from None
    return of_account(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", account)


def of_account(server: str, account: Path) -> Access:
    """A service account at that server. Without an authority of the cluster's own those of the machine are trusted.

    Raises AccessError.
    """
    authority, namespace = account / "ca.crt", account / "namespace"
    try:
        trust = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        place = namespace.read_text().strip() if namespace.exists() else ""
    except OSError as error:  # ssl.SSLError is one
        raise AccessError(f"{authority}: {error.strerror or error}") from None
    return Access(server, trust, lambda: f"Bearer {(account / 'token').read_text().strip()}", namespace=place)
