"""`download`: the process in a ModelCache's Job. Reads the environment, runs, reports, and ends with the exit code."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from app.contracts import download as contract
from app.contracts.download import EXIT_RETRY, DownloadReport
from app.downloader.errors import DownloadError, Terminated
from app.downloader.progress import as_line
from app.downloader.report import Reporter, build_patch
from app.downloader.run import Run
from app.downloader.storage import human
from app.downloader.task import parse_task, termination_log
from app.kube.conditions import ErrorClass
from app.log import process_is_about, redact, set_up

STOPPED = 128 + signal.SIGTERM
log = logging.getLogger("app.downloader")


def main() -> NoReturn:
    code = EXIT_RETRY
    try:
        code = run(os.environ)
    finally:
        # Threads may be in the middle of a transfer; what they wrote is safe as it is.
        logging.shutdown()
        os._exit(code)


def run(environment: Mapping[str, str]) -> int:
    """The exit code of one run."""
    set_up()
    namespace, _, name = environment.get(contract.JOB, "").rpartition("/")
    process_is_about("Job", namespace, name)
    try:
        signal.signal(signal.SIGTERM, _stop)
        return _run(environment)
    except DownloadError as failure:
        _say_last(termination_log(environment), str(failure))
        return failure.exit_code
    except Terminated:
        _say_last(termination_log(environment), "Stopped: it goes on from here when it is started again.")
        return STOPPED
    except Exception as error:
        log.exception("this is a bug")
        _say_last(termination_log(environment), f"InternalError: {type(error).__name__}; see the pod's log.")
        return EXIT_RETRY


def _run(environment: Mapping[str, str]) -> int:
    task = parse_task(environment)
    job = Run(task)
    reporter = Reporter(job.snapshot, build_patch(task.job, environment))
    reporter.start()
    try:
        report = _bug_as_error(job)
    except DownloadError as failure:
        reporter.finish(replace(job.progress.snapshot(), error=failure.error))
        raise
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log.info("%s", as_line(report))
    size, verified = human(report.size_on_disk), f"{report.verified_files} of {report.files_total}"
    log.info("%s: %s, %s files have the source's hash", report.path, size, verified)
    if not reporter.finish(report):
        raise _unreported(task.job)
    return 0


def _unreported(job: str) -> DownloadError:
    """Nobody would ever learn where the model is: the next pod finds it whole, and reports it."""
    message = (
        f"The model is complete, but Job {job} could not be told so: see that this pod may reach the API server; the "
        "next one fetches nothing and reports."
    )
    return DownloadError(ErrorClass.EXTERNAL, "ReportNotSent", message)


def _bug_as_error(job: Run) -> DownloadReport:
    try:
        return job()
    except DownloadError:
        raise
    except Exception as error:
        log.exception("this is a bug")
        message = f"The downloader failed in a way it does not know ({type(error).__name__}); see the pod's log."
        raise DownloadError(ErrorClass.TRANSIENT, "InternalError", message) from error


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _say_last(path: Path, message: str) -> None:
    """To the log, and to where Kubernetes takes a container's last message from."""
    log.error("%s", message)
    try:
        path.write_text(redact(message))
    except OSError as error:
        log.warning("cannot write %s: %s", path, error.strerror)


if __name__ == "__main__":
    main()
