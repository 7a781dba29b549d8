"""Scenario -> how far the pool's limit of GPUs for the service's namespace is used, and whether that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.api.v1alpha1.gpupool import GPUPoolSpec
from app.gpupool.observe import observe
from app.kube.duration import parse_duration
from app.metacontroller.protocol import SyncRequest
from app.scheduling.scheduler import schedule
from app.scheduling.snapshot import tenant_of


@dataclass(frozen=True)
class PoolLimit:
    """The tightest limit of one namespace, once the pool has answered."""

    pool: str
    places: tuple[int, ...]
    """In spec.limits of the pool, counted from 0: those that say this number."""
    namespace: str
    gpus: int
    used: int
    """GPUs of all services of the namespace; those of this one count where it gets any."""
    holds: bool
    """Whether the service waits because of it, whatever is free."""

    @property
    def message(self) -> str:
        limits = " and ".join(f"spec.limits[{place}]" for place in self.places)
        said = (
            f"namespace {self.namespace} may hold {self.gpus} GPUs of pool {self.pool} ({limits}) and holds {self.used}"
        )
        return f"{said}: the service waits for leave to hold more" if self.holds else said


def find_pool_limit(request: SyncRequest, spec: GPUPoolSpec, service: str, now: datetime) -> PoolLimit | None:
    """None where no limit of GPUs is for the namespace. `request` is that of a pool that has answered `service`."""
    view = observe(request, spec, now)
    namespace = tenant_of(service)
    limit = view.limits.get(namespace)
    if limit is None or limit.gpus is None:
        return None
    reservation_delay = parse_duration(spec.reserve_after)
    found = schedule(view.nodes, view.placement_requests, view.existing, reservation_delay, elsewhere=view.elsewhere)
    return PoolLimit(
        pool=request.parent.name,
        places=tuple(place for place in limit.matching if spec.limits[place].gpus == limit.gpus),
        namespace=namespace,
        gpus=limit.gpus,
        used=found.used.get(namespace, 0),
        holds=service in found.decisions and found.decisions[service].lacks_quota,
    )
