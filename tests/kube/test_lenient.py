"""Objects that others wrote: what is missing or misshapen reads as empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kube.lenient import count_at, mapping_at, mappings_at, text_at, texts_at, value_at

OBJECT = {
    "a": {"text": "t", "count": 3, "flag": True, "list": [{"x": 1}, 2, None], "names": ["x", 1, "y"], "none": None}
}


@pytest.mark.parametrize(
    ("read", "path", "found"),
    [
        pytest.param(value_at, ("a", "count"), 3, id="a value"),
        pytest.param(value_at, ("a", "no", "such"), None, id="no value"),
        pytest.param(value_at, ("a", "text", "deeper"), None, id="a way that ends in a text"),
        pytest.param(mapping_at, ("a",), OBJECT["a"], id="a mapping"),
        pytest.param(mapping_at, ("a", "list"), {}, id="a list is no mapping"),
        pytest.param(text_at, ("a", "text"), "t", id="a text"),
        pytest.param(text_at, ("a", "count"), "", id="a number is no text"),
        pytest.param(text_at, ("a", "none"), "", id="null is no text"),
        pytest.param(count_at, ("a", "count"), 3, id="a count"),
        pytest.param(count_at, ("a", "flag"), 0, id="a flag is no count"),
        pytest.param(count_at, ("a", "text"), 0, id="a text is no count"),
        pytest.param(mappings_at, ("a", "list"), [{"x": 1}], id="the mappings of a list"),
        pytest.param(mappings_at, ("a", "text"), [], id="a text is no list"),
        pytest.param(texts_at, ("a", "names"), ("x", "y"), id="the texts of a list"),
        pytest.param(texts_at, ("a", "text"), (), id="a text is no list of texts"),
    ],
)
def test_what_is_read(read: Callable[..., Any], path: tuple[str, ...], found: Any) -> None:
    assert read(OBJECT, *path) == found


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(values, st.lists(st.sampled_from("abc"), max_size=4))
def test_nothing_that_is_read_raises(value: Any, path: list[str]) -> None:
    for read in (value_at, mapping_at, text_at, count_at, mappings_at, texts_at):
        read(value, *path)
