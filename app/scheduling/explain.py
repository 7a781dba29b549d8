"""Decisions in numbers: why nodes were not taken, what is free, and who holds the rest.

The reasons of all nodes are counted after everything was decided, so they tell what a waiting service waits for. For
services that wish the same they are the same, and are found once. Where very many different wishes wait, reasons are
counted for the first ones of the line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from app.scheduling.nodes import Eligibility
from app.scheduling.placement import keeps_islands, slots_on
from app.scheduling.request import Need, Outcome, Slot
from app.scheduling.snapshot import Ledger

MOST_REASONS = 1_000_000
"""Reasons that are found in one call, one for each kind of wish and node: about a second of a core."""
SHOWN = 3
"""Reasons, holders or hosts that a sentence names; the rest are counted."""


class Explainer:
    """Sentences about one pool in its final state."""

    def __init__(self, ledger: Ledger, eligible: Eligibility) -> None:
        self._ledger, self._eligible = ledger, eligible
        self._reasons: dict[object, tuple[list[str], Counter[str]]] = {}
        self._held: dict[str, _Holdings] = {}
        self.foreign_unknown = any(node.foreign is None for node in ledger.nodes)

    def excluded(self, need: Need, taken: Iterable[str], *, ever: bool = False) -> tuple[tuple[str, int], ...]:
        """Why the nodes that were not taken were not, with numbers that sum up to them; the most frequent first. Empty
        where they were not counted. `ever`: why they could not be, whoever uses them now."""
        found = self._all_reasons(need, ever=ever)
        if found is None:
            return ()
        reasons, counts = found
        places = (self._ledger.find(host, need.wish.resource) for host in set(taken))
        ours = Counter(reasons[place] for place in places if place is not None)
        left = (counts - ours).items()
        return tuple(sorted(left, key=lambda pair: (-pair[1], pair[0])))

    def over_quota(self, need: Need, slots: Mapping[Slot, str], groups: int, used: int) -> str:
        """It lacks no GPUs but leave to hold them. Other tenants are not named, for they have no part in it."""
        whole, shared = (
            (", and all GPUs of such a node count", "set resources.sharing to shared, ") if need.exclusive else ("", "")
        )
        remedy = f"{shared}scale down or delete a service of the namespace, or ask the administrator of the pool for a "
        return (
            f"{self._so_far(need, slots, groups)}Namespace {need.tenant} may hold {_gpus(need.quota or 0)} of this "
            f"pool and holds {used}; {_wants(need, article='a')}{whole}. {remedy[0].upper()}{remedy[1:]}higher limit "
            "(spec.limits)."
        )

    def unseen(self, need: Need, slots: Mapping[Slot, str], groups: int) -> str:
        """The work of this look ended before it."""
        return (
            f"{self._so_far(need, slots, groups)}{_wants(need)}. The pool decides in several looks, because very many "
            "groups wait; the next one begins here."
        )

    def _so_far(self, need: Need, slots: Mapping[Slot, str], groups: int) -> str:
        return f"{groups} of {need.target} groups have their GPUs. " if slots else ""

    def message(
        self, need: Need, outcome: Outcome, slots: Mapping[Slot, str], groups: int, *, waits: bool = True
    ) -> str:
        """The decision in sentences; `waits`: for GPUs, not only for pods that do not come."""
        if not waits and not slots:
            return "No group has GPUs."
        match outcome:
            case Outcome.UNKNOWN:
                return "The pool has no nodes: nothing can be said about free GPUs."
            case Outcome.IMPOSSIBLE:
                why = self._listed(need, (), ever=True)
                return f"{_wants(need)}; this pool could never give that, even if nobody used it: {why}."
            case Outcome.PENDING:
                return f"{_wants(need)}. {self._why_not(need, ())}"
        if not slots and not need.target:
            return "No group is asked for."
        hosts = sorted(set(slots.values()))
        placed = f"{_pods(len(slots))} of {_gpus(need.gpus)} on {some(hosts)}{self._not_kept_off(need, slots)}"
        if groups >= need.least or not waits:
            return f"{placed}."
        missing = f"{groups} of {need.least} groups have their GPUs"
        return f"{placed}; {missing}. {self._why_not(need, hosts)}"

    def _not_kept_off(self, need: Need, slots: Mapping[Slot, str]) -> str:
        """Exclusive use is among services: pods of nobody's service are stopped only by GPUs that are asked for."""
        places = [self._ledger.find(host, need.wish.resource) for host in set(slots.values())]
        whole = sum(self._ledger.nodes[place].gpus for place in places if place is not None)
        left = whole - len(slots) * need.gpus
        if not need.exclusive or left <= 0:
            return ""
        return f", which no other service joins; pods of no service are not kept off the other {_gpus(left)}"

    def _why_not(self, need: Need, taken: Iterable[str]) -> str:
        listed = self._listed(need, taken)
        return f"{self._holders(need)}: {listed}." if listed else f"{self._holders(need)}."

    def _listed(self, need: Need, taken: Iterable[str], *, ever: bool = False) -> str:
        counts = self.excluded(need, taken, ever=ever)
        parts = [
            f"{count} of {len(self._ledger.nodes)} nodes {_agree(words, count)}" for words, count in counts[:SHOWN]
        ]
        rest = sum(count for _, count in counts[SHOWN:])
        return ", ".join(parts + ([f"{rest} for other reasons"] if rest else []))

    def _holders(self, need: Need) -> str:
        """Services of the same namespace by name, others as a number: no tenant reads another's names."""
        namespace, _, name = need.service.partition("/")
        holdings = self._holdings(need.wish.resource)
        own = holdings.ranked.get(namespace, [])
        named = [pair for pair in own[: SHOWN + 1] if pair[0] != name][:SHOWN]
        itself = holdings.by_namespace.get(namespace, Counter())[name]
        total = holdings.totals.get(namespace, 0)
        others = holdings.total - total
        parts = [f"{service} holds {_gpus(gpus)}" for service, gpus in named]
        rest = total - itself - sum(gpus for _, gpus in named)
        parts += [f"other services of {namespace} hold {_gpus(rest)}"] if rest else []
        parts += [f"services of other namespaces hold {_gpus(others)}"] if others else []
        return "; ".join(parts) or "No service holds GPUs of this kind"

    def _holdings(self, resource: str) -> _Holdings:
        if resource not in self._held:
            found: dict[str, Counter[str]] = {}
            for place, node in enumerate(self._ledger.nodes):
                for service, gpus in self._ledger.guests(place).items() if node.resource == resource else ():
                    namespace, _, name = service.partition("/")
                    found.setdefault(namespace, Counter())[name] += gpus
            self._held[resource] = _Holdings(found)
        return self._held[resource]

    def _all_reasons(self, need: Need, *, ever: bool) -> tuple[list[str], Counter[str]] | None:
        """Of every node, in their order, and counted. The own nodes of a service are taken out by the caller."""
        # without the number of pods: very many services differ in nothing else
        key = (need.wish, need.gpus, need.exclusive, tuple(sorted(need.islands.items())), ever and (need.apart,))
        if key not in self._reasons:
            nodes = len(self._ledger.nodes)
            if (len(self._reasons) + 1) * nodes > max(nodes, MOST_REASONS):
                return None
            find = self._lasting_reason if ever else self._reason
            reasons = [find(need, place) for place in range(nodes)]
            self._reasons[key] = reasons, Counter(reasons)
        return self._reasons[key]

    def _reason(self, need: Need, place: int) -> str:
        node, ledger = self._ledger.nodes[place], self._ledger
        words = need.wish.find_obstacle(node) or need.wish.find_hindrance(node)
        if words:
            return words
        if ledger.owner(place):
            return "is held by a service for itself"
        if ledger.reserved_for(place):
            return "is held back for a service that has waited longer"
        free = max(0, ledger.free[place])
        if need.exclusive and not ledger.is_unused(place):
            return f"has {free} of {node.gpus} GPUs free, and it needs all of them free"
        if free < need.gpus:
            return f"has {free} free GPUs, fewer than {need.gpus}"
        island = need.island(node.product)
        if island and node.island and island > node.island:
            return f"has islands of {node.island} GPUs, smaller than {island}"
        if island > 1 and not keeps_islands(need.group(node.product), node, free):
            return f"has {free} free GPUs, of which no {need.gpus} are sure to be whole islands of {node.island}"
        return f"has {free} free GPUs"

    def _lasting_reason(self, need: Need, place: int) -> str:
        """Of a service that the pool could never hold: what others hold now is no part of it."""
        node = self._ledger.nodes[place]
        words = need.wish.find_obstacle(node)
        if words:
            return words
        if node.at_best < need.gpus:
            return f"has {_gpus(node.at_best)}, fewer than {need.gpus}"
        whole = replace(node, gpus=node.at_best)
        room = slots_on(need.group(node.product), whole, node.at_best)
        if not room:
            return f"has islands of {node.island} GPUs, smaller than {need.island(node.product)}"
        return f"has room for {_pods(room)}"


class _Holdings:
    """GPUs under one resource name by namespace and service."""

    def __init__(self, by_namespace: Mapping[str, Counter[str]]) -> None:
        self.by_namespace = by_namespace
        self.ranked = {
            namespace: sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))
            for namespace, held in by_namespace.items()
        }
        self.totals = {namespace: held.total() for namespace, held in by_namespace.items()}
        self.total = sum(self.totals.values())


_PLURAL = {"has": "have", "is": "are", "offers": "offer"}


def _agree(words: str, count: int) -> str:
    """Reasons are about one node."""
    verb, _, rest = words.partition(" ")
    return f"{_PLURAL[verb]} {rest}" if count != 1 and verb in _PLURAL else words


def _wants(need: Need, article: str = "A") -> str:
    pods = f"{need.pods} pods with {_gpus(need.gpus)} each" if need.pods > 1 else f"{_gpus(need.gpus)} on one node"
    alone = " that nobody else uses" if need.exclusive else ""
    return f"{article} group needs {pods}{alone}"


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first names; the rest are counted."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
