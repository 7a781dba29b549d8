"""Every captured request is answered as blessed, and keeps the promises that hold for all answers."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.hooks.kinds import DECORATORS, HOOKS
from app.kube.manifest import LAST_APPLIED
from tests.golden.replay import (
    ANSWERS,
    OTHER_ANSWERS,
    OTHER_REQUESTS,
    REQUESTS,
    answer_path,
    case_name,
    child_key,
    children_of,
    kind_of,
    load,
    newest_time,
    replay,
    replay_other,
    request_path,
)
from tests.golden.schemas import problems

every_other_request = pytest.mark.parametrize("path", OTHER_REQUESTS, ids=case_name)
every_request = pytest.mark.parametrize("path", REQUESTS, ids=case_name)
POOLS = [path for path in REQUESTS if kind_of(path) == "gpupool"]
"""Time is an input of pools: nodes are given up and agents fall silent as it passes."""
every_sync_but_of_pools = pytest.mark.parametrize(
    "path", [path for path in REQUESTS if kind_of(path) in HOOKS and path not in POOLS], ids=case_name
)
every_decoration = pytest.mark.parametrize(
    "path", [path for path in REQUESTS if kind_of(path) in DECORATORS], ids=case_name
)


@cache
def answer_of(path: Path) -> dict[str, Any]:
    """The answer to a case, computed once for all tests that only look at it."""
    return replay(path, load(path))


def test_there_are_cases() -> None:
    kinds = {kind_of(path) for path in REQUESTS}
    assert kinds == {*HOOKS, *DECORATORS}


def test_every_sync_finds_its_related_objects_by_what_customize_asks() -> None:
    """Metacontroller sends what the answer of customize selects, and nothing else."""
    for path in REQUESTS:
        if kind_of(path) not in HOOKS:
            continue
        request = load(path)
        rules = replay_other(path, request, "customize")["relatedResources"]
        for kind, group in request["related"].items():
            for found in group.values():
                assert any(selects(rule, found) for rule in rules), f"{case_name(path)}: nothing asks for {kind}"


def selects(rule: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether a rule of customize is about an object."""
    metadata = found["metadata"]
    labels = rule.get("labelSelector", {}).get("matchLabels", {})
    return bool(
        rule["apiVersion"] == found["apiVersion"]
        and rule["resource"] == found["kind"].lower() + "s"
        and rule.get("namespace") in (None, metadata.get("namespace"))
        and metadata["name"] in (rule.get("names") or [metadata["name"]])
        and labels.items() <= metadata.get("labels", {}).items()
    )


@every_other_request
def test_customize_and_finalize_are_answered_as_blessed(path: Path, request: pytest.FixtureRequest) -> None:
    check(path, replay_other(path, load(path)), request)


@every_request
def test_the_answer_is_the_blessed_one(path: Path, request: pytest.FixtureRequest) -> None:
    check(path, answer_of(path), request)


def check(path: Path, answer: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """The answer is that which stands beside its request; with --bless it is written there."""
    file = answer_path(path)
    if request.config.getoption("--bless"):
        file.write_text(json.dumps(answer, indent=1, sort_keys=True) + "\n")
    assert file.exists(), f"no answer for {case_name(path)}: run pytest --bless and review {file.name}"
    assert answer == load(file), f"{case_name(path)} is answered differently: review, then run pytest --bless"


@pytest.mark.parametrize("path", ANSWERS + OTHER_ANSWERS, ids=case_name)
def test_no_answer_is_left_over(path: Path) -> None:
    request = request_path(path)
    assert request.exists(), f"{path.name} has no request: remove it"


@every_request
def test_the_request_is_not_changed(path: Path) -> None:
    request = load(path)
    before = copy.deepcopy(request)
    assert replay(path, request) == answer_of(path)
    assert request == before


@every_request
def test_the_order_of_objects_does_not_matter(path: Path) -> None:
    request = load(path)
    for seed in range(3):
        assert replay(path, shuffled(request, random.Random(seed))) == answer_of(path)


@every_request
def test_feeding_the_answer_back_gives_the_same_children(path: Path) -> None:
    """A child may wait for another one to be seen, but then nothing changes any more, and nothing is ever dropped.
    A pool's decisions are confirmed at the second look, which changes them once."""
    request = load(path)
    now = newest_time(request)
    looks = [children(answer_of(path))]
    for _ in range(3):
        request = as_observed(request, looks[-1])
        looks.append(children(replay(path, request, now)))
    first, second, third, fourth = looks
    again = [child for child in second if child_key(child) in map(child_key, first)]
    assert again == first or (path in POOLS and list(map(child_key, again)) == list(map(child_key, first)))
    assert third == (second if path not in POOLS else fourth)


@every_sync_but_of_pools
def test_a_workload_whose_spec_is_unchanged_keeps_its_pods(path: Path) -> None:
    """The requests were captured with earlier versions: an upgrade restarts nothing."""
    request = load(path)
    standing = {child_key(it): it for group in request["children"].values() for it in group.values()}
    for child in children(answer_of(path)):
        before = standing.get(child_key(child), {})
        if child["kind"] in ("Deployment", "LeaderWorkerSet") and decided(before) == decided(child):
            assert templates(child) == templates(json.loads(before["metadata"]["annotations"][LAST_APPLIED]))


@every_sync_but_of_pools
def test_the_status_settles(path: Path) -> None:
    """Time alone changes nothing once every child is there and the status was written."""
    request = load(path)
    for _ in range(3):
        answer = replay(path, request)
        request = as_observed(request, answer["children"])
        request["parent"]["status"] = answer["status"]
    later = replay(path, request, newest_time(request) + timedelta(hours=1))
    assert later["status"] == request["parent"]["status"]


@every_decoration
def test_the_labels_settle(path: Path) -> None:
    """Labels that were written change no answer: neither the labels nor what is attached."""
    request = load(path)
    answer = replay(path, request)
    after = as_observed(request, children(answer))
    labels = {**request["object"]["metadata"]["labels"], **answer["labels"]}
    after["object"]["metadata"]["labels"] = {key: value for key, value in labels.items() if value is not None}
    assert replay(path, after) == answer


@every_request
def test_children_are_valid_objects(path: Path) -> None:
    for child in children(answer_of(path)):
        assert problems(child) == []


@every_request
def test_nothing_empty_is_sent(path: Path) -> None:
    answer = answer_of(path)
    assert [where for child in children(answer) for where in empties(child)] == []
    assert None not in [value for _, value in walk(answer.get("status", {}))]


def children(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer[children_of(answer)]
    return found


def decided(workload: dict[str, Any]) -> Any:
    """Digest of the spec that a workload was made for, and the replan that was taken."""
    annotations = workload.get("metadata", {}).get("annotations", {})
    return annotations.get("inference.ai/spec-digest"), annotations.get("inference.ai/replan")


def templates(workload: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in workload["spec"].items() if key != "replicas"}


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON with keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def as_observed(request: dict[str, Any], applied: list[dict[str, Any]]) -> dict[str, Any]:
    """The request after Metacontroller applied the children: what stood keeps its status, what is left out is gone."""
    after = copy.deepcopy(request)
    field = children_of(request)
    before = {child_key(child): child for group in after[field].values() for child in group.values()}
    after[field] = {kind: {} for kind in after[field]}
    for child in applied:
        observed = copy.deepcopy(child)
        observed["metadata"].setdefault("annotations", {})[LAST_APPLIED] = json.dumps(child)
        old = before.get(child_key(child), {})
        observed |= {"status": old["status"]} if "status" in old else {}
        if "replicas" in old.get("spec", {}):
            observed["spec"].setdefault("replicas", old["spec"]["replicas"])
        group, _, version = child["apiVersion"].rpartition("/")
        kind = f"{child['kind']}.{group}/{version}" if group else f"{child['kind']}.{version}"
        metadata = child["metadata"]
        after[field][kind]["/".join(metadata[part] for part in ("namespace", "name") if part in metadata)] = observed
    return after


def empties(value: Any, where: str = "") -> Iterator[str]:
    """Paths of null, "" and {}; an empty annotation map that a user wrote would count too. In a rule of a Role, ""
    is the name of the core API group."""
    if value in (None, "", {}, []):
        yield where
    if where.endswith(".apiGroups"):
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from empties(item, f"{where}.{key}")


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield str(key), item
        yield from walk(item)
