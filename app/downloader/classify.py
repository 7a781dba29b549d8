"""What each failure means: one table of HTTP statuses, one of the system's errors. The sources add their own."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from app.downloader.errors import DownloadError
from app.kube.conditions import ErrorClass

TRANSIENT, EXTERNAL = ErrorClass.TRANSIENT, ErrorClass.EXTERNAL
CONFIGURATION, PERMANENT, RESOURCE = ErrorClass.CONFIGURATION, ErrorClass.PERMANENT, ErrorClass.RESOURCE


@dataclass(frozen=True)
class Row:
    """Class, reason, and what to do."""

    error_class: ErrorClass
    reason: str
    advice: str


STATUSES = {
    400: Row(CONFIGURATION, "BadRequest", "check the source's address, key and region"),
    401: Row(CONFIGURATION, "Unauthorized", "give valid credentials: the source refuses those it got, or got none"),
    403: Row(CONFIGURATION, "Forbidden", "use credentials that may read this, or ask for access at the source"),
    404: Row(CONFIGURATION, "NotFound", "check the source's name and path: there is nothing there"),
    408: Row(TRANSIENT, "Timeout", "it is tried again"),
    410: Row(CONFIGURATION, "NotFound", "the source has removed it: choose another"),
    412: Row(TRANSIENT, "SourceChanged", "the content changed while it was read; it is read anew"),
    416: Row(TRANSIENT, "SourceChanged", "the content is shorter than it was; it is read anew"),
    429: Row(TRANSIENT, "RateLimited", "it is tried again after the pause that the source asks for"),
}
_SERVER = Row(EXTERNAL, "SourceUnavailable", "the source's server fails; it is tried again")
_REFUSED = Row(PERMANENT, "RequestRefused", "the source does not serve this request: check its address")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Whoever we are may not write here."""


def row_of(status: int) -> Row:
    """The row of an HTTP status that is no success."""
    return STATUSES.get(status) or (_SERVER if status >= 500 else _REFUSED)


def status_error(status: int, what: str, retry_after: str = "") -> DownloadError:
    """The failure that this HTTP status for `what` is."""
    row = row_of(status)
    message = f"{what}: the source answered {status}; {row.advice}."
    return DownloadError(row.error_class, row.reason, message, parse_retry_after(retry_after))


def parse_count(text: str) -> int | None:
    """The whole number in a header; None when it is none. Other digits than 0 to 9 are none there."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 20 else None


def parse_retry_after(text: str, now: datetime | None = None) -> float:
    """Seconds in a Retry-After header, which holds seconds or a date; 0 when it says nothing."""
    if (seconds := parse_count(text)) is not None:
        return min(float(seconds), 86_400.0)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def timeout_error(what: str) -> DownloadError:
    return DownloadError(TRANSIENT, "Timeout", f"{what}: the source did not answer in time; it is tried again.")


def cut_error(what: str) -> DownloadError:
    return DownloadError(TRANSIENT, "ConnectionCut", f"{what}: the connection broke; it goes on where it stopped.")


def changed_error(what: str) -> DownloadError:
    return DownloadError(
        TRANSIENT, "SourceChanged", f"{what} changed at the source while it was read; it is read anew."
    )


def unreachable_error(what: str, why: str) -> DownloadError:
    message = f"{what}: the source cannot be reached ({why}); check DNS, proxy and network policies if this stays."
    return DownloadError(EXTERNAL, "Unreachable", message)


def system_error(error: OSError, what: str) -> DownloadError:
    """The failure that an error of the file system is."""
    if error.errno in _FULL:
        message = f"{what}: the volume is full; enlarge it (spec.size) or remove what else is on it."
        return DownloadError(RESOURCE, "VolumeTooSmall", message)
    if error.errno in DENIED:
        message = f"{what}: {error.strerror}; uid 1001 must be able to write to the volume."
        return DownloadError(CONFIGURATION, "VolumeNotWritable", message)
    if error.errno == errno.ENAMETOOLONG:
        return DownloadError(PERMANENT, "UnsafeName", f"{what}: the name is too long for the volume; exclude the file.")
    return DownloadError(TRANSIENT, "VolumeError", f"{what}: {error.strerror or type(error).__name__} on the volume.")
