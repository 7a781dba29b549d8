"""What every source's library wraps in errors of its own: refused addresses, failures of TLS, our own failures."""

from __future__ import annotations

import ssl

from app.downloader.egress import causes_of, find_refusal, refused_error
from app.downloader.errors import DownloadError
from app.kube.conditions import ErrorClass

_UNTRUSTED = frozenset({18, 19, 20, 21})
"""OpenSSL's codes for a chain that ends at no authority that is known here."""
_EXPIRED, _OTHER_NAME = 10, frozenset({62, 64})
_VERIFY, _OTHER_HOST = "CERTIFICATE_VERIFY_FAILED", "' doesn't match "
"""How OpenSSL and urllib3 say it where their errors come as text."""


def find_known(error: BaseException, what: str) -> DownloadError | None:
    """The failure that an error of any library is, where the same cause means the same for all of them."""
    if refusal := find_refusal(error):
        return refused_error(refusal, what)
    chain = list(causes_of(error))
    own = next((it for it in chain if isinstance(it, DownloadError)), None)
    return own or _tls_error(chain, what)


def _tls_error(chain: list[BaseException], what: str) -> DownloadError | None:
    refused = next((it for it in chain if isinstance(it, ssl.SSLCertVerificationError)), None)
    if refused or any(_VERIFY in str(it) or _OTHER_HOST in str(it) for it in chain):
        text = " ".join(str(it) for it in chain)
        return _certificate_error(getattr(refused, "verify_code", 0), text, what)
    broken = next((it for it in chain if isinstance(it, ssl.SSLError) and _is_handshake(it)), None)
    if broken is None:
        return None
    why = (broken.reason or str(broken)).replace("_", " ").lower()
    message = f"{what}: TLS failed ({why}); check that this address and port speak https, and which versions of TLS."
    return DownloadError(ErrorClass.EXTERNAL, "TLSFailed", message)


def _is_handshake(error: ssl.SSLError) -> bool:
    """A connection that ends is cut, not a disagreement about TLS."""
    return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)


def _certificate_error(code: int, text: str, what: str) -> DownloadError:
    if code == _EXPIRED or "certificate has expired" in text:
        why = "the server's certificate has expired: renew it, or check the node's clock"
    elif code in _OTHER_NAME or "doesn't match" in text or "mismatch" in text:
        why = "the server's certificate is for another name: use the name in it"
    elif code in _UNTRUSTED or "self-signed" in text or "local issuer" in text:
        why = (
            "the server's certificate is signed by an unknown authority; for a private one, build a downloader image "
            "that holds its bundle, and name the file in INFERENCE_DOWNLOADER_ENV as SSL_CERT_FILE, AWS_CA_BUNDLE and "
            "REQUESTS_CA_BUNDLE"
        )
    else:
        why = "the server's certificate is not valid: replace it"
    return DownloadError(ErrorClass.CONFIGURATION, "CertificateRefused", f"{what}: TLS failed, {why}.")
