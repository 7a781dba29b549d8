"""Telling the Job how far it is: an annotation, patched now and then.

A report on the way that fails fails nothing. The last one is what stays, so it is tried for a while, and whoever asked
for it learns whether it arrived.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from app.apiserver.access import ACCOUNT, HOST, Access, in_pod
from app.apiserver.client import Client
from app.contracts.download import REPORT_ANNOTATION, REPORT_SECONDS, DownloadReport, to_annotation
from app.downloader.egress import trusted
from app.downloader.errors import DownloadError
from app.downloader.progress import as_line
from app.downloader.retry import StallTimeout
from app.kube.conditions import ErrorClass
from app.log import redact

SECONDS = 5.0
"""Until one report has arrived."""
LAST_SECONDS = 60.0
"""How long the last report is tried."""
LONGEST_PAUSE = 10.0
"""Seconds between its tries."""
log = logging.getLogger(__name__)


class Patch(Protocol):
    """Writes a report somewhere; may raise anything."""

    def __call__(self, report: DownloadReport) -> None: ...


class JobPatch:
    """Merge-patches the annotation of one Job, as the pod's own service account."""

    def __init__(self, job: str, access: Access) -> None:
        namespace, _, name = job.partition("/")
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
        self._access = access

    def __call__(self, report: DownloadReport) -> None:
        body: Any = {"metadata": {"annotations": {REPORT_ANNOTATION: to_annotation(report)}}}
        with trusted(), Client(self._access, "model-downloader", SECONDS) as client:
            client.patch(self._path, body)


class Reporter:
    """Reports at intervals from its own thread, and once at the end."""

    def __init__(
        self, look: Callable[[], DownloadReport], patch: Patch | None = None, interval: float = REPORT_SECONDS
    ) -> None:
        self._look, self._patch, self._interval = look, patch, interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, report: DownloadReport) -> bool:
        """Send the last report; whether it arrived, or nobody waits for it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        try:
            StallTimeout(LAST_SECONDS, LONGEST_PAUSE).call(lambda: self._send(report))
        except DownloadError as failure:
            log.warning("%s", failure.error.message)
            return False
        return True

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                report = self._look()
            except Exception as error:
                log.warning("cannot look at the progress: %s", type(error).__name__)
                continue
            log.info("%s", as_line(report))
            try:
                self._send(report)
            except DownloadError as failure:
                log.warning("%s", failure.error.message)

    def _send(self, report: DownloadReport) -> None:
        if self._patch is None:
            return
        try:
            self._patch(report)
        except Exception as error:
            why = redact(str(error))[:200] or type(error).__name__
            message = f"the report did not reach the Job: {why}"
            raise DownloadError(ErrorClass.EXTERNAL, "ReportNotSent", message) from error


def build_patch(job: str, environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Patch | None:
    """How to reach the Job; None when there is none, or no way to it."""
    if not job or not environment.get(HOST) or not (account / "token").exists():
        return None
    try:
        return JobPatch(job, in_pod(environment, account))
    except Exception as error:
        log.warning("no reports to the Job: %s", redact(str(error))[:200] or type(error).__name__)
        return None
