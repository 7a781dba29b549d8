from __future__ import annotations

import json

import pytest

from app.contracts.download import DownloadReport, ReportedError, parse_annotation, to_annotation
from app.fit.catalog import find_model

REPORTS = [
    DownloadReport(),
    DownloadReport(bytes_done=5, bytes_total=10, bytes_per_second=3, files_done=1, files_total=4),
    DownloadReport(revision="abc", size_on_disk=2**40, verified_files=3, model=find_model("Qwen/Qwen3-8B")),
    DownloadReport(error=ReportedError("Configuration", "GatedRepository", "Ask for access.")),
]


@pytest.mark.parametrize("report", REPORTS)
def test_what_is_written_is_read(report: DownloadReport) -> None:
    assert parse_annotation(to_annotation(report)) == report


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"bytesDone":-1}', '{"bytesDone":"5"}', "[" * 100_000])
def test_nonsense_is_no_report(text: str) -> None:
    assert parse_annotation(text) is None


def test_an_annotation_is_compact() -> None:
    assert json.loads(to_annotation(DownloadReport(bytes_done=5))) == {"bytesDone": 5}


def test_a_report_that_an_editor_of_the_job_filled_up_is_none() -> None:
    text = to_annotation(DownloadReport(bytes_done=5))
    assert parse_annotation(text) is not None
    assert parse_annotation(text.replace("{", '{"more":[' + "[]," * 80_000 + "[]],", 1)) is None


@pytest.mark.parametrize(("done", "total", "percent"), [(0, 0, 0), (5, 0, 0), (999, 1000, 99), (10, 10, 100)])
def test_percent_of_the_bytes(done: int, total: int, percent: int) -> None:
    assert DownloadReport(bytes_done=done, bytes_total=total).percent == percent
