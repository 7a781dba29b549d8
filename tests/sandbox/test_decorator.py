"""What the stand-in makes of a DecoratorController's answer, before it writes anything."""

from __future__ import annotations

from typing import Any

import pytest

from tools.sandbox.standin.decorator import decorated

BEFORE: dict[str, Any] = {
    "metadata": {"name": "n", "labels": {"a": "1", "b": "2"}, "annotations": {"x": "1"}},
    "status": {"phase": "Ready"},
}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing said"),
        pytest.param({"labels": {}, "annotations": None, "status": None}, id="nothing changed"),
        pytest.param({"labels": {"a": "1", "c": None}}, id="already so"),
        pytest.param({"status": {"phase": "Ready"}}, id="the same status"),
    ],
)
def test_an_answer_that_is_true_already_changes_nothing(answer: dict[str, Any]) -> None:
    assert decorated(BEFORE, answer) == BEFORE


def test_labels_are_set_and_null_removes_them() -> None:
    after = decorated(BEFORE, {"labels": {"a": None, "b": "3", "c": "4"}})
    assert after["metadata"]["labels"] == {"b": "3", "c": "4"}
    assert BEFORE["metadata"]["labels"] == {"a": "1", "b": "2"}


def test_annotations_are_set_where_there_were_none() -> None:
    after = decorated({"metadata": {"name": "n"}}, {"annotations": {"x": "1"}})
    assert after == {"metadata": {"name": "n", "annotations": {"x": "1"}}}


def test_a_status_is_replaced_whole() -> None:
    assert decorated(BEFORE, {"status": {"ready": True}})["status"] == {"ready": True}
