"""Launch mode ray with real Ray, in an environment of its own; vLLM is the stand-in, which asks Ray for its nodes."""

from __future__ import annotations

import signal

import pytest

from tests.images.conftest import GroupOf
from tests.images.environments import RAY, UnavailableError
from tests.images.groups import Image, standin_image
from tests.images.pods import missing_parts, wait_for
from tests.images.workloads import built

pytestmark = pytest.mark.vllm
START_SECONDS = 120


@pytest.fixture(scope="session")
def with_ray(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if missing := missing_parts():
        pytest.skip(missing)
    try:
        venv = RAY.ensure()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    return standin_image(tmp_path_factory.mktemp("ray"), venv)


def test_a_group_spans_its_pods_through_ray_answers_and_stops(group_of: GroupOf, with_ray: Image) -> None:
    group = group_of(built(2, "ray"), image=with_ray).start()
    group.wait_healthy(START_SECONDS)
    assert group.complete("Hello")
    places = f"Ray ran on {sorted(pod.ip for pod in group.pods)}"
    assert places in group.leader.logged()
    assert group.workers[0].execute("drain-worker", "1").returncode == 0
    group.leader.signal(signal.SIGTERM)
    assert group.leader.wait(30) == 0
    assert group.workers[0].wait(120) is not None


def test_a_killed_worker_ends_the_group(group_of: GroupOf, with_ray: Image) -> None:
    group = group_of(built(2, "ray"), image=with_ray).start()
    group.wait_healthy(START_SECONDS)
    group.workers[0].kill()
    assert group.leader.wait(120) != 0
    assert group.leader.message() == "EngineError: 1 of 2 nodes of Ray are alive"


def test_a_worker_that_does_not_come_is_told_with_counts(group_of: GroupOf, with_ray: Image) -> None:
    group = group_of(built(2, "ray"), image=with_ray, INFERENCE_JOIN_SECONDS="5")
    group.leader.start()
    assert group.leader.wait(60) == 75
    assert group.leader.message() == "join: 1 of 2 pods are nodes of Ray within 5 s"


def test_a_leader_that_does_not_come_is_told(group_of: GroupOf, with_ray: Image) -> None:
    group = group_of(built(2, "ray"), image=with_ray, INFERENCE_JOIN_SECONDS="2")
    group.workers[0].start()
    assert group.workers[0].wait(20) == 75
    assert group.workers[0].message().startswith("join: Ray's head on group-0.group-0.models does not answer")


def test_an_image_without_ray_says_how_to_build_one_with_it(group_of: GroupOf) -> None:
    group = group_of(built(2, "ray"))
    group.leader.start()
    assert group.leader.wait(20) == 78
    wait_for("the reason is written", lambda: "WITH_RAY=true" in group.leader.message(), 30)
