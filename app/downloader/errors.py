"""Expected failure of a download, and what must never be said in one: secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from app.contracts.download import EXIT_FINAL, EXIT_RETRY, ReportedError
from app.contracts.sources import SOURCES
from app.kube.conditions import ErrorClass

MESSAGE_LIMIT = 1000
"""Characters; a termination message may have 4096 bytes, an annotation's object 256 KiB."""
FINAL = frozenset({ErrorClass.CONFIGURATION, ErrorClass.PERMANENT})
AGAIN = frozenset({ErrorClass.TRANSIENT, ErrorClass.EXTERNAL})
_SECRETS = tuple(name for it in SOURCES for name in (*it.credentials.values, *it.credentials.others))
_URL = re.compile(
    # Quotes may stand in user and query, and people put a / into a password: only white space ends them for sure.
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/?#:]*:\S*@|[^\s/?#]*@)?(?P<rest>[^\s?#]*)(?P<query>[?#]\S*)?"
)
_BEARER = re.compile(r"(?i)\b((?:authorization:\s*)?(?:bearer|basic)|authorization:)\s+\S+")


class DownloadError(Exception):
    """Why the download does not go on; `error` is what people read."""

    def __init__(self, error_class: ErrorClass, reason: str, message: str, retry_after: float = 0.0) -> None:
        text = redact(message)[:MESSAGE_LIMIT]
        super().__init__(f"{reason}: {text}")
        self.error_class = error_class
        self.error = ReportedError(error_class.value, reason, text)
        self.retry_after = retry_after
        """Seconds that the source asked to wait; 0 = it did not say."""

    @property
    def can_retry(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return self.error_class in AGAIN

    @property
    def exit_code(self) -> int:
        return EXIT_FINAL if self.error_class in FINAL else EXIT_RETRY


class Terminated(BaseException):
    """SIGTERM arrived. No Exception, so that nothing on the way takes it for a failed transfer."""


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without secrets: no user or query in a URL, no bearer token, no value of a secret variable."""
    for secret in _secrets(os.environ if environment is None else environment):
        text = text.replace(secret, "***")
    return _BEARER.sub(r"\1 ***", _URL.sub(_bare_url, text))


def _secrets(environment: Mapping[str, str]) -> Iterable[str]:
    return (value for name in _SECRETS if len(value := environment.get(name, "").strip()) > 3)


def _bare_url(match: re.Match[str]) -> str:
    user, query = "***@" if match["user"] else "", "?***" if match["query"] else ""
    return f"{match['scheme']}{user}{match['rest']}{query}"
