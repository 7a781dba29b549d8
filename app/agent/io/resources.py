"""What the agent reads and writes of the API server: paths, selectors, and which of them are trimmed to metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.agent.downloads import JOB_LABEL
from app.agent.events import EVENT_REASONS
from app.agent.patch import Target
from app.agent.snapshot import Key
from app.api.schema import API_VERSION
from app.apiserver import JSON_TYPE, METADATA, METADATA_LIST
from app.kube.names import CACHE_LABEL
from app.settings import Settings

OURS = f"/apis/{API_VERSION}"


@dataclass(frozen=True)
class Resource:
    """One kind as it is listed and watched over all namespaces."""

    name: str
    path: str
    selectors: Mapping[str, str] = field(default_factory=dict)
    list_type: str = JSON_TYPE
    watch_type: str = JSON_TYPE
    page: int = 500
    """Objects of one answer to a list: bounds what is in memory at once."""
    watch_seconds: tuple[int, int] = (300, 600)
    """How long a watch lasts before it is opened anew, at random, so that API servers share the load."""


# Completed pods, most of all that ended, are never sent. Failed ones are: a service's evicted pod says why.
PODS = Resource("pods", "/api/v1/pods", {"fieldSelector": "status.phase!=Succeeded"})
# Only labels are read of a Node, so its status, the largest part, stays at the API server.
NODES = Resource("nodes", "/api/v1/nodes", list_type=METADATA_LIST, watch_type=METADATA)
GPU_NODES = Resource("gpunodes", f"{OURS}/gpunodes")
GPU_REQUESTS = Resource("gpurequests", f"{OURS}/gpurequests")
GPU_ALLOCATIONS = Resource("gpuallocations", f"{OURS}/gpuallocations")
GPU_POOLS = Resource("gpupools", f"{OURS}/gpupools", list_type=METADATA_LIST, watch_type=METADATA)


DOWNLOAD_JOBS = Resource("downloads", "/apis/batch/v1/jobs", {"labelSelector": CACHE_LABEL})
DOWNLOAD_PODS = Resource("downloadpods", "/api/v1/pods", {"labelSelector": f"{CACHE_LABEL},{JOB_LABEL}"})
EVENTS = tuple(
    Resource(
        f"events-{reason}", "/api/v1/events", {"fieldSelector": f"reason={reason}"}, page=100, watch_seconds=(90, 150)
    )
    for reason in EVENT_REASONS
)
"""A field selector knows no "or", and all events together are more than the rest of the cluster. Whoever may write
events may write a megabyte into each. API servers send no bookmarks of events: a watch ends before its silence would
count as a failure."""


def find_exporters(settings: Settings) -> Resource | None:
    """Pods of AMD's device-metrics-exporter, in the one namespace whose pods are believed; None: none are asked."""
    if not settings.exporter_selector or not settings.exporter_namespace:
        return None
    path = f"/api/v1/namespaces/{settings.exporter_namespace}/pods"
    return Resource("exporters", path, {"labelSelector": settings.exporter_selector})


def build_path(target: Target, key: Key) -> str:
    """Where a patch goes."""
    namespace, name = key
    match target:
        case Target.UNGATE | Target.EVICT:
            return f"/api/v1/namespaces/{namespace}/pods/{name}"
        case Target.GPU_NODE:
            return f"{OURS}/gpunodes/{name}/status"
        case Target.GPU_REQUEST:
            return f"{OURS}/namespaces/{namespace}/gpurequests/{name}/status"
        case Target.GPU_ALLOCATION:
            return f"{OURS}/namespaces/{namespace}/gpuallocations/{name}/status"
        case Target.JOB:
            return f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
        case Target.HEARTBEAT:
            return f"{OURS}/gpupools/{name}"


def lease_path(namespace: str, name: str = "") -> str:
    root = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return f"{root}/{name}" if name else root
