"""Children of an InferenceService in the cluster, as its controller would observe them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from app.api.object import Object
from app.api.schema import API_VERSION
from app.cli.cluster import Cluster, ForbiddenError
from app.cli.scenario import CHILD_KINDS
from app.inferenceservice.names import cache_child_name, deployment_name, keys_name
from app.kube.lenient import mappings_at, text_at
from app.kube.manifest import Manifest

OWN = f"/apis/{API_VERSION}"
CONTROLLER = "/apis/metacontroller.k8s.io/v1alpha1/compositecontrollers/inferenceservice"


class Place(NamedTuple):
    """Where a kind of child is found."""

    plural: str
    suffix: str = ""
    """Of its name, after that of the service."""


PLACES: Mapping[str, Place] = {
    "Deployment": Place("deployments", deployment_name("")),
    "LeaderWorkerSet": Place("leaderworkersets"),
    "Service": Place("services"),
    "Ingress": Place("ingresses"),
    "NetworkPolicy": Place("networkpolicies"),
    "Job": Place("jobs", keys_name("")),
    "ServiceAccount": Place("serviceaccounts", keys_name("")),
    "Role": Place("roles", keys_name("")),
    "RoleBinding": Place("rolebindings", keys_name("")),
    "HorizontalPodAutoscaler": Place("horizontalpodautoscalers"),
    "PodDisruptionBudget": Place("poddisruptionbudgets"),
    "ModelCache": Place("modelcaches", cache_child_name("")),
    "GPURequest": Place("gpurequests"),
}


def managed_kinds(cluster: Cluster) -> list[str]:
    """What the controller manages; where that cannot be read, every kind that the API server knows."""
    try:
        controller = cluster.find(CONTROLLER)
    except ForbiddenError:
        controller = None
    if controller:
        listed = {
            (text_at(it, "apiVersion"), text_at(it, "resource"))
            for it in mappings_at(controller, "spec", "childResources")
        }
        return [kind for kind in CHILD_KINDS if (_version(kind), _place(kind).plural) in listed]
    return [kind for kind in CHILD_KINDS if cluster.find(_api(kind)) is not None]


def find_children(cluster: Cluster, service: Manifest, kinds: Collection[str]) -> dict[str, dict[str, Manifest]]:
    """Those that the service owns, by kind; an object of the same name that is somebody else's is none."""
    metadata = Object.read(service).metadata
    name, namespace, uid = metadata.name, metadata.namespace, metadata.uid
    children: dict[str, dict[str, Manifest]] = {kind: {} for kind in kinds}
    for kind in kinds if uid else ():
        place = _place(kind)
        found = cluster.find(f"{_api(kind)}/namespaces/{namespace}/{place.plural}/{name}{place.suffix}")
        if found and any(text_at(owner, "uid") == uid for owner in mappings_at(found, "metadata", "ownerReferences")):
            children[kind][f"{namespace}/{text_at(found, 'metadata', 'name')}"] = found
    return children


def _place(kind: str) -> Place:
    return PLACES[kind.partition(".")[0]]


def _version(kind: str) -> str:
    return kind.partition(".")[2]


def _api(kind: str) -> str:
    version = _version(kind)
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
