"""The glossary against itself and the tree: each test fails with the term to mend."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
TEXT = " ".join((PROJECT / "docs/glossary.md").read_text().split())
TERMS = re.findall(r"- \*\*([^*]+)\*\* \(([^)]+)\)\. ", TEXT)
CODE = re.findall(r"Code: `([^`]+)`", TEXT)
SOURCES = re.findall(r"\| ([^|]+) \| [^|]+ \|", TEXT.partition("## Sources")[2])[1:]


def test_terms_stand_once_and_in_order() -> None:
    names = [term.lower() for term, _ in TERMS]
    assert names == sorted(set(names))


def test_every_term_names_its_code() -> None:
    assert len(CODE) == len(TERMS) > 0
    assert [path for path in CODE if not (PROJECT / path).exists()] == []


def test_every_source_is_explained_once() -> None:
    assert sorted(SOURCES) == sorted({source for _, source in TERMS})
