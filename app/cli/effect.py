"""What applying a service would do to what runs: the reconciler's answer is compared with what is there.

A workload is decided once per spec, so most edits restart nothing. When it waits for GPUs, what runs goes on until they
are granted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.cli.asking import Answer, Asked
from app.cli.verdict import Effect, Outcome
from app.cli.world import World
from app.hook import SyncRequest
from app.inferenceservice.children import build_children
from app.inferenceservice.handshake import GPU_ALLOCATION, GPU_REQUEST
from app.inferenceservice.observed import WorkloadKind, WorkloadState
from app.inferenceservice.plan import Blocked, Serve, plan_service
from app.inferenceservice.sync import gather_facts
from app.kube.lenient import value_at
from app.kube.manifest import Manifest, differences

_TEMPLATE = {WorkloadKind.DEPLOYMENT.value: "template", WorkloadKind.LEADER_WORKER_SET.value: "leaderWorkerTemplate"}
"""The part of a workload's spec that restarts pods when it changes."""
_SHOWN = 100


def find_effect(world: World, asked: Asked, answer: Answer | None, outcome: Outcome) -> Effect | None:
    """None when it is no question of a cluster."""
    if not world.is_live:
        return None
    running = asked.facts.observed.workloads
    if not running:
        return Effect("nothing of it runs yet, so nothing restarts")
    if outcome is Outcome.IMPOSSIBLE and not _goes_on(asked):
        return Effect(f"what runs goes on unchanged: {_names(running)}; the edit cannot be applied")
    after = _workloads_after(world, asked, answer)
    if after is None:
        return Effect(
            f"restarts nothing now: {_names(running)} goes on until what the edit waits for is there, and restarts then"
        )
    return _compare(running, after)


def _goes_on(asked: Asked) -> bool:
    return isinstance(asked.plan, Serve)


def _workloads_after(world: World, asked: Asked, answer: Answer | None) -> list[Manifest] | None:
    """What the reconciler answers once the pool has bound its decision; None while it would wait."""
    children = {kind: dict(items) for kind, items in world.children.items()}
    if asked.request:
        before = children.get(GPU_REQUEST, {}).get(world.key, {})
        status = {"poolExists": world.pool is not None} | dict(before.get("status") or {})
        children[GPU_REQUEST] = {world.key: {**asked.request, "status": status}}
    related = dict(world.related) | ({GPU_ALLOCATION: {world.key: answer.bound}} if answer else {})
    request = SyncRequest(parent=world.parent, children=children, related=related)
    facts = gather_facts(request, world.spec, world.settings, world.now, lambda *_: asked.model)
    plan = plan_service(facts)
    if not isinstance(plan, Serve | Blocked):
        return None
    return [child for child in build_children(plan, facts) if child.get("kind") in _TEMPLATE]


def _compare(running: tuple[WorkloadState, ...], after: list[Manifest]) -> Effect:
    wanted = {(item["kind"], item["metadata"]["name"]): item for item in after}
    parts: list[str] = []
    changes: list[str] = []
    for state in running:
        key = (state.kind.value, str(value_at(state.applied, "metadata", "name")))
        found = wanted.pop(key, None)
        if found is None:
            parts.append(f"{_name(state)} is removed, with its {_pods(state)}")
            changes.append(f"{_name(state)}: removed")
            continue
        changed = list(_changes(state, found))
        changes += changed
        if changed:
            parts.append(f"restarts the {_pods(state)} of {_name(state)}, one group at a time")
        if scaled := _scaling(state, found):
            parts.append(scaled)
    parts += [f"{kind} {name} is made" for kind, name in wanted]
    message = "; ".join(parts)
    if not changes:
        return Effect(f"restarts nothing{f'; {message}' if message else ''}")
    return Effect(message, restarts=True, changes=tuple(changes))


def _changes(state: WorkloadState, after: Manifest) -> Iterator[str]:
    part = _TEMPLATE[state.kind.value]
    before = value_at(state.applied, "spec", part)
    for path, old, new in differences(before, value_at(after, "spec", part), f"spec.{part}"):
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _scaling(state: WorkloadState, after: Manifest) -> str:
    wanted = value_at(after, "spec", "replicas")
    if not isinstance(wanted, int) or wanted == state.asked:
        return ""
    return f"scales {_name(state)} from {state.asked} to {wanted} groups"


def _names(running: tuple[WorkloadState, ...]) -> str:
    return " and ".join(_name(state) for state in running)


def _name(state: WorkloadState) -> str:
    return f"{state.kind.value} {value_at(state.applied, 'metadata', 'name')}"


def _pods(state: WorkloadState) -> str:
    pods = max(1, state.running) * state.size
    return "1 pod" if pods == 1 else f"{pods} pods"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
