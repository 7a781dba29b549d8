"""Names and labels that the operator writes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kube.names import label_value, short_hash, standard_labels

# Source: apimachinery validation.IsValidLabelValue
VALID = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        pytest.param("llama", "llama", id="a label already"),
        pytest.param("meta-llama/Llama-2-7b", "meta-llama--Llama-2-7b", id="a slash"),
        pytest.param("org/m@v1:a", "org--m-v1-a", id="other characters"),
        pytest.param("a  b", "a-b", id="several in a row"),
        pytest.param("/m/", "m", id="at the ends"),
        pytest.param("-._m_.-", "m", id="ends that are no letters"),
        pytest.param("模型", "", id="nothing that a label may hold"),
        pytest.param("", "", id="nothing"),
        pytest.param("a" * 63, "a" * 63, id="as long as can be"),
    ],
)
def test_a_text_becomes_the_label(text: str, label: str) -> None:
    assert label_value(text) == label


def test_what_is_cut_off_is_told_apart() -> None:
    one, other = label_value("a" * 64), label_value("a" * 65)
    assert one != other
    assert {len(one), len(other)} == {63}


@given(st.text(max_size=120) | st.from_regex(r"[A-Za-z0-9._/:@-]{60,80}", fullmatch=True))
def test_any_text_becomes_a_valid_label_that_stays(text: str) -> None:
    label = label_value(text)
    assert VALID.fullmatch(label)
    assert len(label) <= 63
    assert label_value(label) == label


@given(st.text())
def test_a_hash_is_eight_digits_and_always_the_same(text: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{8}", short_hash(text))
    assert short_hash(text) == short_hash(text)


def test_a_hash_never_changes_between_versions() -> None:
    """Names of Jobs and folders are made of it: another value would download every model again."""
    assert short_hash("org/tiny") == "0a07e539"


def test_standard_labels_are_valid_for_any_model() -> None:
    labels = standard_labels("inference", "demo", "organisation/" + "x" * 100)
    assert all(len(value) <= 63 and VALID.fullmatch(value) for value in labels.values())
