"""docs/downloader.md explains every reason that the code can give, with its class, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tools.sandbox.hooks import PROJECT

PAGE = PROJECT / "docs" / "downloader.md"
CODE = PROJECT / "app" / "downloader"
WORD = re.compile(r"[A-Z][A-Za-z]+")
REASON_AT = {"DownloadError": 1, "Row": 1}


def reasons_in(path: Path) -> Iterator[str]:
    """Second arguments of DownloadError and Row, and the reasons in the table of S3's codes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REASON_AT:
            yield from texts(node.args[1 : REASON_AT[node.func.id] + 1])
        if isinstance(node, ast.Dict):
            pairs = [value for value in node.values if isinstance(value, ast.Tuple) and len(value.elts) == 2]
            yield from texts([pair.elts[0] for pair in pairs])


def texts(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
            yield node.value


def test_every_reason_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| ([A-Z][A-Za-z]+) \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    explained = {reason for reason, _ in rows if reason not in ("Reason", "Source")}
    given = {reason for path in CODE.rglob("*.py") for reason in reasons_in(path)}
    assert explained == given


def test_every_file_of_the_image_exists() -> None:
    dockerfile = (PROJECT / "images" / "downloader" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    sources = [name for line in copied for name in line.split()]
    assert sources
    assert [name for name in sources if not (PROJECT / name).exists()] == []
