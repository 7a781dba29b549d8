"""Nodes whose GPUs nobody can tell: what is said of them where a service waits, in the pool's answer and in `plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from app.scheduling.explain import some
from app.scheduling.nodes import Node, NodeRequirements
from app.scheduling.request import Decision, Outcome, PlacementRequest


def nameless_hosts(nodes: Iterable[Node], wish: NodeRequirements, gpus: int) -> list[str]:
    """Nodes of which only the product is missing that the model needs."""
    return sorted(node.host for node in nodes if node.at_best >= gpus and wish.misses_only_product(node))


def nameless_message(hosts: Sequence[str], label: str) -> str:
    """What is not known, what happens meanwhile, and what to do."""
    verb, them, whose = ("has", "it", "its") if len(hosts) == 1 else ("have", "them", "their")
    return (
        f"nobody can tell what GPUs {some(hosts)} {verb}, so nothing can be said of the memory there; the operator "
        f"will not use {them} for this model until {whose} label {label} names one, for example {label}=MI300X"
    )


def silent_message(hosts: Sequence[str]) -> str:
    verbs = ("carries", "offers") if len(hosts) == 1 else ("carry", "offer")
    signs = f"{some(hosts)} {verbs[0]} the signs of AMD GPUs and {verbs[1]} none"
    return f"{signs}: look at AMD's device plugin there"


def with_nameless(
    decisions: Mapping[str, Decision],
    needs: Sequence[PlacementRequest],
    nodes: Sequence[Node],
    silent: Sequence[str],
    label: str,
) -> dict[str, Decision]:
    """The decisions; those that wait also say what to do about nodes of an unknown product, and where no node offers
    GPUs, which ones should."""
    unknown = [node for node in nodes if not node.product]
    explained = dict(decisions)
    for service, decision in decisions.items() if silent else ():
        if decision.outcome is Outcome.UNKNOWN and decision.message:
            explained[service] = replace(decision, message=f"{decision.message} {silent_message(silent)}.")
    for need in needs if unknown else ():
        decision = decisions[need.service]
        if decision.outcome is not Outcome.PENDING or not decision.message:
            continue
        if hosts := nameless_hosts(unknown, need.requirements, need.gpus_per_node):
            said = nameless_message(hosts, label)
            message = f"{decision.message} {said[0].upper()}{said[1:]}."
            explained[need.service] = replace(decision, message=message)
    return explained
