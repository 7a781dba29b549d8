"""Waiting for what should become true, telling what is seen meanwhile and, when it does not, what was seen last."""

from __future__ import annotations

import time
from collections.abc import Callable

from tools.sandbox.api import Object
from tools.sandbox.node.world import World

API_VERSION = "inference.ai/v1alpha1"
HEADLINES = ("Ready", "Available")
PERIOD_SECONDS = 0.5
Tell = Callable[[str], None]


class StepFailedError(AssertionError):
    """A step did not come to its end; the message says what it waited for and what it saw."""


def wait_for(world: World, what: str, look: Callable[[], tuple[bool, str]], timeout: float, tell: Tell) -> None:
    """Poll `look` until it says True; what it sees is told whenever it changes."""
    begun, shown = time.monotonic(), ""
    while True:
        done, seen = look()
        if seen and seen != shown:
            tell(f"{time.monotonic() - begun:4.0f} s  {seen}")
            shown = seen
        if done:
            return
        if time.monotonic() - begun > timeout:
            raise StepFailedError(f"waited {timeout:.0f} s for: {what}. Saw: {seen or 'nothing'}")
        world.check()
        time.sleep(PERIOD_SECONDS)


def wait_ready(world: World, kind: str, name: str, namespace: str, timeout: float, tell: Tell) -> Object:
    """Until the headline condition of the current generation is True."""

    def look() -> tuple[bool, str]:
        item = world.cluster.get(API_VERSION, kind, name, namespace) or {}
        condition = headline(item)
        current = item.get("status", {}).get("observedGeneration") == item.get("metadata", {}).get("generation")
        told = f"{condition.get('type', 'Ready')}={condition.get('status')} {condition.get('reason', '')}"
        ready = current and condition.get("status") == "True"
        return ready, f"{kind} {name}: {told}: {condition.get('message', 'no status yet')}"

    wait_for(world, f"{kind} {namespace}/{name} is Ready", look, timeout, tell)
    found = world.cluster.get(API_VERSION, kind, name, namespace)
    assert found
    return found


def headline(item: Object) -> Object:
    """The condition that sums an object up; empty when there is none yet."""
    conditions = item.get("status", {}).get("conditions") or []
    return next((it for it in conditions if it["type"] in HEADLINES), {})


def expect(holds: bool, otherwise: str) -> None:
    """Fail the step with what was seen."""
    if not holds:
        raise StepFailedError(otherwise)
