"""What is free on each node while decisions are made: GPUs less those of others, of pods where they run, and of
decisions where no pod runs yet.

Exclusive use is of a whole host: nobody else's GPUs are on it, and nobody else may take any; the service's own pods may
share it. So an exclusive service costs its tenant all GPUs of the host. Bookings are counted as they come, also where
they break this rule (what runs is never moved), so a free count may be negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.scheduling.nodes import Node


class Snapshot:
    """Free GPUs by node (its place in the list), and who is on each host."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.free = [node.gpus - (node.unmanaged_usage or 0) for node in nodes]
        self._places: dict[tuple[str, str], int] = {(node.host, node.resource): it for it, node in enumerate(nodes)}
        self._hosts: dict[str, list[int]] = {}
        for place, node in enumerate(nodes):
            self._hosts.setdefault(node.host, []).append(place)
        whole = {host: sum(nodes[it].gpus for it in places) for host, places in self._hosts.items()}
        self.sizes = [whole[node.host] for node in nodes]
        """GPUs of the host of each node, under whatever resource name."""
        self.largest = max(self.sizes, default=0)
        self._guests: list[dict[str, int]] = [{} for _ in nodes]
        self._owners: dict[str, dict[str, int]] = {}
        """By host: pods of the exclusive services there; what runs may break the rule that they are one."""
        self._lent: dict[str, int] = {}
        """By host: pods of the earlier request of an exclusive service, which count as gone while it is placed anew."""
        self._reserved: dict[int, str] = {}
        self.used: dict[str, int] = {}
        """GPUs by tenant that count towards its quota: where pods run, and where they will; of exclusive services all
        of their hosts."""
        self.examined = 0
        """Nodes that were looked at for a place: the work of one call, counted so that it is the same everywhere."""

    def find(self, host: str, resource: str) -> int | None:
        """The node's place, None when the pool has no such node."""
        return self._places.get((host, resource))

    def book(self, place: int, gpus: int, service: str, exclusive: bool) -> None:
        self.free[place] -= gpus
        guests = self._guests[place]
        guests[service] = guests.get(service, 0) + gpus
        self.use(tenant_of(service), self.cost([place], gpus, service, exclusive))
        if exclusive:
            host = self.nodes[place].host
            owners = self._owners.setdefault(host, {})
            owners[service] = owners.get(service, 0) + 1

    def release(self, place: int, gpus: int, service: str, exclusive: bool) -> None:
        """Take one booking back."""
        self.free[place] += gpus
        _less(self._guests[place], service, gpus)
        if exclusive:
            _less(self._owners[self.nodes[place].host], service, 1)
        self.use(tenant_of(service), -self.cost([place], gpus, service, exclusive))

    def cost(self, places: Iterable[int], gpus: int, service: str, exclusive: bool) -> int:
        """What a pod on each of the places adds to what the tenant uses, in GPUs."""
        if not exclusive:
            return gpus * sum(1 for _ in places)
        hosts = {self.nodes[place].host for place in places}
        return sum(self.size(host) for host in hosts if self._pods(host, service) <= self._lent.get(host, 0))

    def size(self, host: str) -> int:
        return self.sizes[self._hosts[host][0]]

    def lend(self, hosts: Iterable[str], service: str) -> None:
        """An exclusive service is placed anew: until `take_back`, these hosts cost it nothing unless they are taken
        again. No pod of its request as it is now may be there."""
        for host in hosts:
            if pods := self._pods(host, service):
                self._lent[host] = pods
                self.use(tenant_of(service), -self.size(host))

    def take_back(self, service: str) -> None:
        for host, pods in self._lent.items():
            if self._pods(host, service) == pods:
                self.use(tenant_of(service), self.size(host))
        self._lent.clear()

    def _pods(self, host: str, service: str) -> int:
        """Pods of an exclusive service that are booked on the host."""
        return self._owners.get(host, {}).get(service, 0)

    def use(self, tenant: str, gpus: int) -> None:
        """Count GPUs of a tenant that are not booked on a node of this pool, too."""
        self.used[tenant] = self.used.get(tenant, 0) + gpus

    def reserve(self, places: Iterable[int], service: str) -> None:
        """Hold nodes back for a service that has waited long."""
        for place in places:
            self._reserved.setdefault(place, service)

    def admits(self, place: int, service: str, exclusive: bool) -> bool:
        """Whether the service may come here at all, whatever the number of free GPUs."""
        owner = self.exclusive_holder(place)
        if owner not in ("", service) or self._reserved.get(place, service) != service:
            return False
        return not exclusive or owner == service or self.is_unused(place)

    def is_unused(self, place: int) -> bool:
        """Nobody holds a GPU of the host, under whatever resource name."""
        return all(self.free[it] == self.nodes[it].gpus for it in self._hosts[self.nodes[place].host])

    def exclusive_holder(self, place: int) -> str:
        """The service that has the host for itself, or ""."""
        return next(iter(self._owners.get(self.nodes[place].host, ())), "")

    def reserved_for(self, place: int) -> str:
        return self._reserved.get(place, "")

    def usage_by_service(self, place: int) -> dict[str, int]:
        """GPUs by service; read only."""
        return self._guests[place]


def tenant_of(service: str) -> str:
    """The namespace, of namespace/name."""
    return service.partition("/")[0]


def _less(counts: dict[str, int], key: str, count: int) -> None:
    counts[key] -= count
    if not counts[key]:
        del counts[key]
