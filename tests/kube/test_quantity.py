"""Quantities in the form the API server stores."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.kube.quantity import LARGEST, QUANTITY_PATTERN, canonical_quantity, format_bytes, parse_quantity


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("16Gi", "16Gi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("999.1m", "1"),
        ("0.0001", "1m"),
        ("0.5", "500m"),
        ("4", "4"),
        ("4.0", "4"),
        ("2000", "2k"),
        ("1024", "1024"),
        ("1000Ki", "1000Ki"),
        ("0", "0"),
        ("0Gi", "0"),
        ("100G", "100G"),
        ("2048Gi", "2Ti"),
    ],
)
def test_the_stored_spelling(written: str, stored: str) -> None:
    assert canonical_quantity(written) == stored


@pytest.mark.parametrize("text", ["", "Gi", "16GB", "-1", "1e3x", "16 Gi", "1,5Gi", "16Gi\n"])
def test_what_is_no_quantity_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 16Gi"):
        parse_quantity(text)


@given(st.integers(0, 10**6), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti"]))
def test_the_stored_spelling_is_the_same_number_and_final(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    stored = canonical_quantity(text)
    assert parse_quantity(stored) == parse_quantity(text)
    assert canonical_quantity(stored) == stored


fractions = st.decimals(0, 10**6, places=3, allow_nan=False, allow_infinity=False)


@given(fractions, st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi", "Ti"]))
def test_fractions_are_stored_whole_and_lose_less_than_a_thousandth(number: Decimal, suffix: str) -> None:
    text = f"{number}{suffix}"
    stored = canonical_quantity(text)
    assert "." not in stored
    assert parse_quantity(text) <= parse_quantity(stored) < parse_quantity(text) + Decimal("0.001")
    assert canonical_quantity(stored) == stored


@given(st.from_regex(re.compile(QUANTITY_PATTERN, re.ASCII), fullmatch=True).filter(lambda text: len(text) < 20))
def test_what_the_schema_admits_is_read(text: str) -> None:
    assume(parse_quantity(text) <= LARGEST)
    stored = canonical_quantity(text)
    assert re.fullmatch(QUANTITY_PATTERN, stored)
    assert canonical_quantity(stored) == stored


@given(st.integers(0, 2**50))
def test_bytes_are_rounded_up(count: int) -> None:
    assert count <= parse_quantity(format_bytes(count)) < count * 1.001 + 2**20 + 1
