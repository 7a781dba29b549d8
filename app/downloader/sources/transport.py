"""What errors of the HTTP client mean."""

from __future__ import annotations

import httpx2

from app.downloader.causes import find_known
from app.downloader.classify import cut_fault, system_fault, timeout_fault, unreachable_fault
from app.downloader.fault import Fault
from app.kube.conditions import ErrorClass


def transport_fault(error: Exception, what: str) -> Fault:
    """The failure that an error below HTTP is; errors of the disk come this way too."""
    if known := find_known(error, what):
        return known
    match error:
        case httpx2.TimeoutException():
            return timeout_fault(what)
        case httpx2.ConnectError() | httpx2.ProxyError():
            return unreachable_fault(what, _why(error))
        case httpx2.TooManyRedirects() | httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            message = f"{what}: {_why(error)}; check the URL."
            return Fault(ErrorClass.CONFIGURATION, "BadSource", message)
        case httpx2.HTTPError():
            return cut_fault(what)
        case OSError(errno=int()):
            return system_fault(error, what)
        case _:
            return cut_fault(what)


def _why(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
