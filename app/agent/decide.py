"""The world -> every patch that it needs now."""

from __future__ import annotations

from app.agent.bind import plan_bindings
from app.agent.devices import plan_devices
from app.agent.facts import World
from app.agent.observe import plan_nodes
from app.agent.patch import Patch
from app.agent.recall import plan_recalls
from app.agent.report import plan_requests


def decide(world: World) -> list[Patch]:
    """All patches but heartbeats, which vouch for these and so come after them. Bindings first: they hold up pods."""
    plans = (plan_bindings, plan_recalls, plan_nodes, plan_requests, plan_devices)
    return [patch for plan in plans for patch in plan(world)]
