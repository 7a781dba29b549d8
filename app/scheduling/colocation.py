"""What one host at a time can have, and services share: whoever reads it goes to the host where the others are.

Hosts are counted as places come and go, so that very many services that share one thing cost no more than others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.scheduling.assignment import Draft
from app.scheduling.request import Need

MOST_HOSTS = 16
"""Hosts of one thing that are told; more have it only where what runs broke the rule before."""
MOST_TOGETHER = 64
"""Services for which room is looked for on one host."""

Hosts = dict[str, Counter[str]]
"""Places by service, by host."""


@dataclass
class _Sharers:
    drafts: list[Draft] = field(default_factory=list)
    running: Hosts = field(default_factory=dict)
    placed: Hosts = field(default_factory=dict)


class Sharing:
    """Who shares what, and where it is."""

    def __init__(self, drafts: Iterable[Draft]) -> None:
        self._sharers: dict[str, _Sharers] = {}
        for draft in drafts:
            if draft.need.shared:
                sharers = self._sharers.setdefault(draft.need.shared, _Sharers())
                sharers.drafts.append(draft)
                for pod in draft.need.bound:
                    sharers.running.setdefault(pod.host, Counter())[draft.need.service] += 1

    def count(self, need: Need, host: str, places: int) -> None:
        """Places of a service on a host that were booked, or given up (negative)."""
        if need.shared:
            services = self._sharers[need.shared].placed.setdefault(host, Counter())
            services[need.service] += places
            if not services[need.service]:
                del services[need.service]

    def homes(self, need: Need) -> Mapping[str, str]:
        """Hosts of others that share what this one reads, each with one of them: where pods run; else where pods are to
        be. Nothing = any host will do."""
        sharers = self._sharers.get(need.shared) if need.shared else None
        if sharers is None or len(sharers.drafts) < 2:
            return {}
        return _of_others(sharers.running, need) or _of_others(sharers.placed, need)

    def find_wanted(self, draft: Draft) -> int:
        """GPUs that it needs together with the others of its kind that wait, 0 where it is alone."""
        sharers = self._sharers.get(draft.need.shared) if draft.need.shared else None
        if sharers is None or len(sharers.drafts) < 2:
            return 0
        together = _first_of(sharers.drafts, draft)
        return sum(it.need.least * it.need.group_gpus for it in together if it is draft or it.waits)


def _first_of(drafts: Sequence[Draft], own: Draft) -> list[Draft]:
    return [own, *(it for it in drafts[:MOST_TOGETHER] if it is not own)]


def _of_others(hosts: Hosts, need: Need) -> dict[str, str]:
    found: dict[str, str] = {}
    for host, services in hosts.items():
        other = next((it for it in services if it != need.service), "")
        if other:
            found[host] = other
        if len(found) >= MOST_HOSTS:
            break
    return found
