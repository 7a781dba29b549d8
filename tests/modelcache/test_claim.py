"""The PersistentVolumeClaim: made from spec and settings, then never changed but for its growth."""

from __future__ import annotations

from typing import Any

import pytest

from app.settings import Settings
from tests.calls import Answer
from tests.modelcache.cache import call, claim, filled, spec


def size(answer: Answer) -> str:
    return str(answer.child("PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"])


def applied(answer: Answer) -> str:
    """Reason and message of what the spec asks and the claim is not."""
    found = [it for it in answer.status["conditions"] if it["type"] == "SpecApplied"]
    return f"{found[0]['reason']}: {found[0]['message']}" if found else ""


def test_the_claim_is_what_the_spec_asks_for() -> None:
    answer = call(spec(storageClass="fast-ssd", accessMode="ReadWriteOnce"))
    found = answer.child("PersistentVolumeClaim")
    assert found["metadata"]["name"] == "demo-cache"
    assert found["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "50Gi"}},
        "storageClassName": "fast-ssd",
        "volumeMode": "Filesystem",
    }


def test_many_nodes_read_it_unless_the_spec_says_otherwise() -> None:
    assert call().child("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        pytest.param(spec(storageClass="mine"), Settings(storage_class="theirs"), "mine", id="the spec's"),
        pytest.param(spec(), Settings(storage_class="theirs"), "theirs", id="the operator's"),
        pytest.param(spec(), Settings(), None, id="the cluster's default is left to the cluster"),
    ],
)
def test_the_class_is(given: dict[str, Any], settings: Settings, expected: str | None) -> None:
    assert call(given, settings=settings).child("PersistentVolumeClaim")["spec"].get("storageClassName") == expected


def test_a_size_that_is_left_out_is_the_operators() -> None:
    assert size(call({"modelName": "org/tiny"}, settings=Settings(cache_size="1024Gi"))) == "1Ti"


def test_a_claim_grows() -> None:
    answer = call(spec(size="100Gi"), children=[claim()])
    assert size(answer) == "100Gi"
    assert applied(answer) == ""


def test_a_claim_does_not_shrink_and_that_is_said() -> None:
    answer = call(spec(size="20Gi"), children=[claim()])
    assert size(answer) == "50Gi"
    assert applied(answer).startswith("ConfigurationError: PersistentVolumeClaim demo-cache has size 50Gi")


def test_growth_that_has_not_come_yet_is_said() -> None:
    there = claim(spec(size="100Gi")) | {"status": {"phase": "Bound", "capacity": {"storage": "50Gi"}}}
    ready = call(spec(size="100Gi"), children=[there]).condition("StorageReady")
    assert ready["status"] == "True"
    assert "is bound with 50Gi. It is to grow to 100Gi" in ready["message"]
    assert "allowVolumeExpansion" in ready["message"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        pytest.param({"storageClass": "slow"}, "has StorageClass fast-ssd, the spec asks for slow", id="another class"),
        pytest.param(
            {"accessMode": "ReadWriteOnce"},
            "has access mode ReadWriteMany, the spec asks for ReadWriteOnce",
            id="another access mode",
        ),
    ],
)
def test_what_cannot_be_changed_stays_and_is_said(edit: dict[str, Any], words: str) -> None:
    first = spec(storageClass="fast-ssd")
    there = claim(first)
    answer = call(first | edit, children=[there])
    assert answer.child("PersistentVolumeClaim") == call(first).child("PersistentVolumeClaim")
    assert words in applied(answer)


@pytest.mark.parametrize(
    ("caching", "words"),
    [
        pytest.param({"replicas": 3}, "asks for 3 copies and is unused: all nodes read the one", id="several copies"),
    ],
)
def test_what_one_volume_cannot_do_is_said_and_stops_nothing(caching: dict[str, Any], words: str) -> None:
    given = spec(caching=caching)
    answer = call(given, children=filled(given))
    assert applied(answer).startswith("Pending: ")
    assert words in applied(answer)
    assert answer.condition("Ready")["status"] == "True"


def test_a_spec_that_is_applied_whole_has_no_condition_about_it() -> None:
    assert applied(call(children=[claim()])) == ""


@pytest.mark.parametrize("size_now", ["1Ti", "1Gi"])
def test_another_default_size_leaves_a_claim_that_is_there_as_it_is(size_now: str) -> None:
    """Growth cannot be taken back, and a spec that names no size asks for none."""
    given = {"modelName": "org/tiny"}
    there = claim(given, settings=Settings(cache_size="50Gi"))
    answer = call(given, children=[there], settings=Settings(cache_size=size_now))
    assert size(answer) == "50Gi"
    assert applied(answer) == ""
    assert "grow" not in answer.condition("StorageReady")["message"]


def test_a_default_class_of_today_changes_no_claim() -> None:
    answer = call(children=[claim()], settings=Settings(storage_class="new"))
    assert "storageClassName" not in answer.child("PersistentVolumeClaim")["spec"]
    assert applied(answer) == ""
