"""kubeconfig files, as the kubernetes library reads them: merged files, certificates, tokens, and programs that fetch
tokens."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from typing import Any

from kubernetes.client import Configuration
from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config

from app.apiserver.access import Access, AccessError
from app.kube.lenient import text_at

_MISSTEPS = (AttributeError, IndexError, KeyError, TypeError)
"""Of the library in a file that is YAML and something else; their texts are about its code."""
_NO_CONFIG = "it is no kubeconfig, which has clusters, users, contexts and a current-context"


def read_kubeconfig(files: str | None = None, context: str | None = None) -> Access:
    """The access that a context gives, by default the current one; `files` are separated as in PATH, and by default
    those of KUBECONFIG or ~/.kube/config. Raises AccessError."""
    configuration = Configuration()
    try:
        load_kube_config(files, context, client_configuration=configuration, persist_config=False)
        contexts, active = list_kube_config_contexts(files)
        chosen: Mapping[str, Any] = next((it for it in contexts if it["name"] == context), active)
        trust = _trust(configuration)
    except (ConfigException, OSError) as error:
        raise AccessError(str(error)) from error
    except Exception as error:  # the library fails with whatever a misshapen file leads it to
        reason = _NO_CONFIG if isinstance(error, _MISSTEPS) else (str(error).splitlines() or [type(error).__name__])[0]
        raise AccessError(reason) from error
    lock = threading.Lock()

    def authorize() -> str:
        with lock:
            return configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""

    return Access(
        server=str(configuration.host).rstrip("/"),
        trust=trust,
        authorize=authorize,
        blocks=True,
        namespace=text_at(chosen, "context", "namespace"),
        proxy=configuration.proxy or None,
        uses_environment=True,
        tls_server_name=configuration.tls_server_name or "",
    )


def _trust(configuration: Configuration) -> ssl.SSLContext:
    trust = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        trust.load_cert_chain(configuration.cert_file, configuration.key_file)
    return trust
