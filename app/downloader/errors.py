"""Expected failure of a download."""

from __future__ import annotations

from app.contracts.download import EXIT_FINAL, EXIT_RETRY, ReportedError
from app.kube.conditions import ErrorClass
from app.log import redact

MESSAGE_LIMIT = 1000
"""Characters; a termination message may have 4096 bytes, an annotation's object 256 KiB."""
FINAL = frozenset({ErrorClass.CONFIGURATION, ErrorClass.PERMANENT})
AGAIN = frozenset({ErrorClass.TRANSIENT, ErrorClass.EXTERNAL})


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
