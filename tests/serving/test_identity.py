"""Whose body it is."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from app.serving.identity import Asked, find_asked
from tests.golden.replay import REQUESTS, case_name, load


@pytest.mark.parametrize("path", REQUESTS, ids=case_name)
def test_a_request_is_of_its_parent(path: Path) -> None:
    request = load(path)
    asked = request["parent"] if "parent" in request else request["object"]
    metadata = asked["metadata"]
    known = Asked(metadata["uid"], metadata["name"], metadata.get("namespace", ""))
    assert find_asked(path.read_bytes()) == known


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"parent": null}',
        b'{"parent": 3}',
        b'{"parent": {}}',
        b'{"parent": {"metadata": {"uid": 7}}}',
        b'{"parent": {"metadata": {"name": "a"}}}',
        b'{"parent": {"metadata": {"uid": "\xff"}}}',
        b"[" * 100000,
        b'{"x": ' * 100000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_request_is_nobodys(body: bytes) -> None:
    assert find_asked(body).uid == ""


def test_the_uid_of_the_controller_or_of_a_child_is_not_taken() -> None:
    own, other = ({"metadata": {"uid": uid}} for uid in ("own", "other"))
    assert find_asked(orjson.dumps({"controller": other, "parent": own, "children": {"x": {"y": other}}})).uid == "own"
