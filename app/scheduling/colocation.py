"""What one host at a time can have, and services share: whoever reads it goes to the host where the others are.

Hosts are counted as places come and go, so that very many services that share one thing cost no more than others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.scheduling.assignment import Assignment
from app.scheduling.request import PlacementRequest

MOST_HOSTS = 16
"""Hosts of one thing that are told; more have it only where what runs broke the rule before."""
MOST_TOGETHER = 64
"""Services for which room is looked for on one host."""

Hosts = dict[str, Counter[str]]
"""Places by service, by host."""


@dataclass
class _Sharers:
    assignments: list[Assignment] = field(default_factory=list)
    running: Hosts = field(default_factory=dict)
    placed: Hosts = field(default_factory=dict)


class Colocation:
    """Who shares what, and where it is."""

    def __init__(self, assignments: Iterable[Assignment]) -> None:
        self._sharers: dict[str, _Sharers] = {}
        for assignment in assignments:
            if assignment.request.claim:
                sharers = self._sharers.setdefault(assignment.request.claim, _Sharers())
                sharers.assignments.append(assignment)
                for pod in assignment.request.bound_pods:
                    sharers.running.setdefault(pod.host, Counter())[assignment.request.service] += 1

    def count(self, request: PlacementRequest, host: str, places: int) -> None:
        """Places of a service on a host that were booked, or given up (negative)."""
        if request.claim:
            services = self._sharers[request.claim].placed.setdefault(host, Counter())
            services[request.service] += places
            if not services[request.service]:
                del services[request.service]

    def homes(self, request: PlacementRequest) -> Mapping[str, str]:
        """Hosts of others that share what this one reads, each with one of them: where pods run; else where pods are to
        be. Nothing = any host will do."""
        sharers = self._sharers.get(request.claim) if request.claim else None
        if sharers is None or len(sharers.assignments) < 2:
            return {}
        return _of_others(sharers.running, request) or _of_others(sharers.placed, request)

    def find_wanted(self, assignment: Assignment) -> int:
        """GPUs that it needs together with the others of its kind that wait, 0 where it is alone."""
        sharers = self._sharers.get(assignment.request.claim) if assignment.request.claim else None
        if sharers is None or len(sharers.assignments) < 2:
            return 0
        together = _first_of(sharers.assignments, assignment)
        return sum(it.request.min_replicas * it.request.group_gpus for it in together if it is assignment or it.waits)


def _first_of(assignments: Sequence[Assignment], own: Assignment) -> list[Assignment]:
    return [own, *(it for it in assignments[:MOST_TOGETHER] if it is not own)]


def _of_others(hosts: Hosts, request: PlacementRequest) -> dict[str, str]:
    found: dict[str, str] = {}
    for host, services in hosts.items():
        other = next((it for it in services if it != request.service), "")
        if other:
            found[host] = other
        if len(found) >= MOST_HOSTS:
            break
    return found
