"""make-ssh-keys: one pair of keys for one service, created as a Secret and never read again.

It runs in a Job whose ServiceAccount may create Secrets and nothing else. A Secret that is there already stays as it
is: another attempt of the same Job made it, or a person. Its owner is the service, so it goes when the service goes.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.contracts.runtime import SECRET_LABELS, SECRET_NAME, SECRET_OWNER, SSH_KEY
from inference_runtime.failure import EXIT_CONFIGURATION, EXIT_UNAVAILABLE, Failure, log

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONFLICT = 409


def main(_: Sequence[str]) -> int:
    name = os.environ.get(SECRET_NAME, "")
    if not name:
        raise Failure(f"keys: {SECRET_NAME} is not set", EXIT_CONFIGURATION)
    created = _create(build_secret(name, os.environ, make_key()))
    log(f"Secret {name} {'is created' if created else 'was there already and stays as it is'}")
    return 0


def make_key() -> bytes:
    """A private key of Ed25519 without a passphrase, in OpenSSH's format."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "inference-group", "-f", path], check=True)
        return path.read_bytes()


def build_secret(name: str, env: Mapping[str, str], key: bytes) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/ssh-auth",
        "immutable": True,
        "metadata": {
            "name": name,
            "labels": json.loads(env.get(SECRET_LABELS) or "{}"),
            "ownerReferences": [json.loads(env[SECRET_OWNER])],
        },
        "data": {SSH_KEY: base64.b64encode(key).decode()},
    }


def _create(secret: Mapping[str, object]) -> bool:
    """Whether it is new."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    namespace = (ACCOUNT / "namespace").read_text().strip()
    request = urllib.request.Request(
        f"https://{address}:{port}/api/v1/namespaces/{namespace}/secrets",
        data=json.dumps(secret).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        },
        method="POST",
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        urllib.request.urlopen(request, timeout=30, context=trust).close()
    except urllib.error.HTTPError as error:
        if error.code == CONFLICT:
            return False
        raise Failure(f"keys: the API server answers {error.code}: {_said(error)}", EXIT_UNAVAILABLE) from None
    except OSError as error:
        raise Failure(f"keys: the API server cannot be reached ({error})", EXIT_UNAVAILABLE) from None
    return True


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read()).get("message", ""))
    except (ValueError, AttributeError):
        return error.reason
