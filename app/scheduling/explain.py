"""Decisions in numbers: why nodes were not taken, what is free, and who holds the rest.

The reasons of all nodes are counted after everything was decided, so they tell what a waiting service waits for. For
services with the same requirements they are the same, and are found once. Where very many different requirements
wait, reasons are counted for the first ones of the line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from app.scheduling.islands import exceeds_island, keeps_islands
from app.scheduling.nodes import Eligibility
from app.scheduling.placement import slots_on
from app.scheduling.request import Outcome, PlacementRequest, Slot
from app.scheduling.snapshot import Snapshot

MOST_REASONS = 1_000_000
"""Reasons that are found in one call, one for each kind of requirements and node: about a second of a core."""
SHOWN = 3
"""Reasons, holders or hosts that a sentence names; the rest are counted."""


class Explainer:
    """Sentences about one pool in its final state."""

    def __init__(self, snapshot: Snapshot, eligible: Eligibility) -> None:
        self._snapshot, self._eligible = snapshot, eligible
        self._reasons: dict[object, tuple[list[str], Counter[str]]] = {}
        self._held: dict[str, _Holdings] = {}
        self.foreign_use_unknown = any(node.unmanaged_usage is None for node in snapshot.nodes)

    def excluded(
        self, request: PlacementRequest, taken: Iterable[str], *, ever: bool = False
    ) -> tuple[tuple[str, int], ...]:
        """Why the nodes that were not taken were not, with numbers that sum up to them; the most frequent first. Empty
        where they were not counted. `ever`: why they could not be, whoever uses them now."""
        found = self._all_reasons(request, ever=ever)
        if found is None:
            return ()
        reasons, counts = found
        places = (self._snapshot.find(host, request.requirements.resource) for host in set(taken))
        ours = Counter(reasons[place] for place in places if place is not None)
        left = (counts - ours).items()
        return tuple(sorted(left, key=lambda pair: (-pair[1], pair[0])))

    def over_quota(self, request: PlacementRequest, hosts: Mapping[Slot, str], groups: int, used: int) -> str:
        """It lacks no GPUs but leave to hold them. Other tenants are not named, for they have no part in it."""
        whole, shared = ("", "")
        if request.exclusive:
            whole, shared = (", and all GPUs of such a node count", "set resources.sharing to shared, ")
        remedy = f"{shared}scale down or delete a service of the namespace, or ask the administrator of the pool for a "
        limit = f"Namespace {request.tenant} may hold {_gpus(request.quota or 0)} of this pool and holds {used}"
        return (
            f"{self._so_far(request, hosts, groups)}{limit}; {_wants(request, article='a')}{whole}. "
            f"{remedy[0].upper()}{remedy[1:]}higher limit (spec.limits)."
        )

    def untried(self, request: PlacementRequest, hosts: Mapping[Slot, str], groups: int) -> str:
        """The work of this cycle ended before it."""
        return (
            f"{self._so_far(request, hosts, groups)}{_wants(request)}. The pool decides in several looks, because very "
            "many groups wait; the next one begins here."
        )

    def _so_far(self, request: PlacementRequest, hosts: Mapping[Slot, str], groups: int) -> str:
        return f"{groups} of {request.target} groups have their GPUs. " if hosts else ""

    def message(
        self,
        request: PlacementRequest,
        outcome: Outcome,
        hosts: Mapping[Slot, str],
        groups: int,
        *,
        waits: bool = True,
    ) -> str:
        """The decision in sentences; `waits`: for GPUs, not only for pods that do not come."""
        if not waits and not hosts:
            return "No group has GPUs."
        match outcome:
            case Outcome.UNKNOWN:
                return "The pool has no nodes: nothing can be said about free GPUs."
            case Outcome.IMPOSSIBLE:
                why = self._listed(request, (), ever=True)
                return f"{_wants(request)}; this pool could never give that, even if nobody used it: {why}."
            case Outcome.PENDING:
                return f"{_wants(request)}. {self._why_not(request, ())}"
        if not hosts and not request.target:
            return "No group is asked for."
        taken = sorted(set(hosts.values()))
        pods = f"{_pods(len(hosts))} of {_gpus(request.gpus_per_node)}"
        placed = f"{pods} on {some(taken)}{self._not_kept_off(request, hosts)}"
        if groups >= request.min_replicas or not waits:
            return f"{placed}."
        missing = f"{groups} of {request.min_replicas} groups have their GPUs"
        return f"{placed}; {missing}. {self._why_not(request, taken)}"

    def _not_kept_off(self, request: PlacementRequest, hosts: Mapping[Slot, str]) -> str:
        """Exclusive use is among services: pods of nobody's service are stopped only by GPUs that are asked for."""
        places = [self._snapshot.find(host, request.requirements.resource) for host in set(hosts.values())]
        whole = sum(self._snapshot.nodes[place].gpus for place in places if place is not None)
        left = whole - len(hosts) * request.gpus_per_node
        if not request.exclusive or left <= 0:
            return ""
        return f", which no other service joins; pods of no service are not kept off the other {_gpus(left)}"

    def _why_not(self, request: PlacementRequest, taken: Iterable[str]) -> str:
        listed = self._listed(request, taken)
        return f"{self._holders(request)}: {listed}." if listed else f"{self._holders(request)}."

    def _listed(self, request: PlacementRequest, taken: Iterable[str], *, ever: bool = False) -> str:
        counts = self.excluded(request, taken, ever=ever)
        parts = [
            f"{count} of {len(self._snapshot.nodes)} nodes {_agree(words, count)}" for words, count in counts[:SHOWN]
        ]
        rest = sum(count for _, count in counts[SHOWN:])
        return ", ".join(parts + ([f"{rest} for other reasons"] if rest else []))

    def _holders(self, request: PlacementRequest) -> str:
        """Services of the same namespace by name, others as a number: no tenant reads another's names."""
        namespace, _, name = request.service.partition("/")
        holdings = self._holdings(request.requirements.resource)
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
            for place, node in enumerate(self._snapshot.nodes):
                for service, gpus in (
                    self._snapshot.usage_by_service(place).items() if node.resource == resource else ()
                ):
                    namespace, _, name = service.partition("/")
                    found.setdefault(namespace, Counter())[name] += gpus
            self._held[resource] = _Holdings(found)
        return self._held[resource]

    def _all_reasons(self, request: PlacementRequest, *, ever: bool) -> tuple[list[str], Counter[str]] | None:
        """Of every node, in their order, and counted. The own nodes of a service are taken out by the caller."""
        # without the number of pods: very many services differ in nothing else
        key = (
            request.requirements,
            request.gpus_per_node,
            request.exclusive,
            tuple(sorted(request.islands.items())),
            ever and (request.one_pod_per_node,),
        )
        if key not in self._reasons:
            nodes = len(self._snapshot.nodes)
            if (len(self._reasons) + 1) * nodes > max(nodes, MOST_REASONS):
                return None
            find = self._lasting_reason if ever else self._reason
            reasons = [find(request, place) for place in range(nodes)]
            self._reasons[key] = reasons, Counter(reasons)
        return self._reasons[key]

    def _reason(self, request: PlacementRequest, place: int) -> str:
        node, snapshot = self._snapshot.nodes[place], self._snapshot
        words = request.requirements.permanent_mismatch(node) or request.requirements.temporary_mismatch(node)
        if words:
            return words
        if snapshot.exclusive_holder(place):
            return "is held by a service for itself"
        if snapshot.reserved_for(place):
            return "is held back for a service that has waited longer"
        free = max(0, snapshot.free[place])
        if request.exclusive and not snapshot.is_unused(place):
            return f"has {free} of {node.gpus} GPUs free, and it needs all of them free"
        if free < request.gpus_per_node:
            return f"has {free} free GPUs, fewer than {request.gpus_per_node}"
        island = request.island(node.product)
        if node.island and exceeds_island(island, node):
            return f"has islands of {node.island} GPUs, smaller than {island}"
        if island > 1 and not keeps_islands(request.gpus_per_node, island, node, free):
            gpus = request.gpus_per_node
            return f"has {free} free GPUs, of which no {gpus} are sure to be whole islands of {node.island}"
        return f"has {free} free GPUs"

    def _lasting_reason(self, request: PlacementRequest, place: int) -> str:
        """Of a service that the pool could never hold: what others hold now is no part of it."""
        node = self._snapshot.nodes[place]
        words = request.requirements.permanent_mismatch(node)
        if words:
            return words
        if node.at_best < request.gpus_per_node:
            return f"has {_gpus(node.at_best)}, fewer than {request.gpus_per_node}"
        whole = replace(node, gpus=node.at_best)
        room = slots_on(request.group(node.product), whole, node.at_best)
        if not room:
            return f"has islands of {node.island} GPUs, smaller than {request.island(node.product)}"
        return f"has room for {_pods(room)}"


class _Holdings:
    """GPUs under one resource name by namespace and service."""

    def __init__(self, by_namespace: Mapping[str, Counter[str]]) -> None:
        self.by_namespace = by_namespace
        self.ranked = {
            namespace: sorted(existing.items(), key=lambda pair: (-pair[1], pair[0]))
            for namespace, existing in by_namespace.items()
        }
        self.totals = {namespace: existing.total() for namespace, existing in by_namespace.items()}
        self.total = sum(self.totals.values())


_PLURAL = {"has": "have", "is": "are", "offers": "offer"}


def _agree(words: str, count: int) -> str:
    """Reasons are about one node."""
    verb, _, rest = words.partition(" ")
    return f"{_PLURAL[verb]} {rest}" if count != 1 and verb in _PLURAL else words


def _wants(request: PlacementRequest, article: str = "A") -> str:
    pods = (
        f"{request.nodes} pods with {_gpus(request.gpus_per_node)} each"
        if request.nodes > 1
        else f"{_gpus(request.gpus_per_node)} on one node"
    )
    alone = " that nobody else uses" if request.exclusive else ""
    return f"{article} group needs {pods}{alone}"


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first names; the rest are counted."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
