"""What users write reaches the container as they wrote it, whatever it holds of the kubelet's own signs."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.kube.expansion import literal
from tests.kube.expansion import expand

TEXTS = st.text(st.sampled_from("$()$ab{}\\\n é"), max_size=40)
NAMES = st.dictionaries(st.text("ab", max_size=3), st.text("xy$(", max_size=3))


@given(TEXTS, NAMES)
@example("$(HOME)", {"HOME": "/"})
@example("$$\\boxed{x}$$", {})
@example("$", {})
@example("$(", {})
@example("$$(a)", {"a": "x"})
def test_a_literal_reaches_the_container_unchanged(text: str, variables: dict[str, str]) -> None:
    assert expand(literal(text), variables) == text


@given(TEXTS, NAMES)
def test_only_what_would_be_changed_is_written_otherwise(text: str, variables: dict[str, str]) -> None:
    if "$$" not in text and "$(" not in text:
        assert literal(text) == text


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("$(A)", "one"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$$$$", "$$"),
        ("$(B)", "$(B)"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("a$b", "a$b"),
        ("$()", "$()"),
        ("$(A)$(A)", "oneone"),
    ],
)
def test_the_copy_of_the_kubelets_expansion_says_what_its_own_tests_say(text: str, made: str) -> None:
    assert expand(text, {"A": "one"}) == made
