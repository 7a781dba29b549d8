"""How many values JSON holds and how deep it is: the same as one finds by parsing it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kube.weight import holds_more, is_deeper, may_hold_more

texts = st.text() | st.text(alphabet='\\",[]{}: ', max_size=9)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


def children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def values(value: Any) -> int:
    return 1 + sum(map(values, children(value)))


def levels(value: Any) -> int:
    return isinstance(value, dict | list) and 1 + max(map(levels, children(value)), default=0)


@given(jsons)
def test_values_are_counted_as_a_parser_finds_them(value: Any) -> None:
    found = values(value)
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps(value, separators=separators).encode()
        assert not holds_more(text, found)
        assert holds_more(text, found - 1)
        assert may_hold_more(text, found - 1)


@given(jsons)
def test_levels_are_counted_as_a_parser_finds_them(value: Any) -> None:
    text, found = json.dumps(value).encode(), levels(value)
    assert not is_deeper(text, values(value), found)
    assert not found or is_deeper(text, values(value), found - 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b"[" + b"[]," * 99_999 + b"[]]", 100_001, id="empty lists"),
        pytest.param(b"{" + b",".join(b'"%d":{}' % it for it in range(100_000)) + b"}", 100_001, id="empty objects"),
        pytest.param(orjson.dumps(["\\\",[{" * 50_000]), 2, id="a text of structure"),
        pytest.param(orjson.dumps(["\\"] * 50_000), 50_001, id="backslashes"),
        pytest.param(b"[" * 50_000 + b"]" * 50_000, 50_000, id="deep"),
    ],
)  # fmt: skip
def test_large_texts_are_counted_exactly(text: bytes, found: int) -> None:
    assert not holds_more(text, found)
    assert holds_more(text, found - 1)


def test_what_no_parser_takes_is_measured() -> None:
    assert is_deeper(b"[" * 9000 + b"]" * 9000, 9000, 8999)
    assert not is_deeper(b"[" * 900 + b"]" * 900, 900, 900)
