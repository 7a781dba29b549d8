"""metacontroller/: every controller calls a hook that is served, and says how its objects are updated."""

from __future__ import annotations

import pytest

from app.hooks.kinds import DECORATORS, HOOKS
from tools.sandbox.api import Object
from tools.sandbox.operator import controllers

ALL = pytest.mark.parametrize("controller", controllers(lws=True), ids=lambda it: it["metadata"]["name"])
SERVED = {f"/{hook}/{kind}" for kind in HOOKS for hook in ("sync", "customize", "finalize")}
SERVED |= {f"/sync/{kind}" for kind in DECORATORS}


def test_every_kind_with_a_hook_has_its_controller() -> None:
    assert {it["metadata"]["name"] for it in controllers(lws=False)} == {*HOOKS, *DECORATORS}


@ALL
def test_hooks_are_served_in_version_2_and_within_a_time(controller: Object) -> None:
    for hook in controller["spec"]["hooks"].values():
        assert hook["version"] == "v2"
        assert hook["webhook"]["path"] in SERVED
        assert hook["webhook"]["timeout"]


@ALL
def test_the_update_method_of_every_kind_is_explicit(controller: Object) -> None:
    spec = controller["spec"]
    rules = spec.get("childResources") or spec.get("attachments")
    assert rules
    assert all(rule["updateStrategy"]["method"] in ("InPlace", "OnDelete") for rule in rules)


@ALL
def test_what_was_missed_is_found_within_five_minutes(controller: Object) -> None:
    assert controller["spec"]["resyncPeriodSeconds"] == 300
