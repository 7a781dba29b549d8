"""What the API server writes into objects that it stores: defaults, as far as hooks may trip on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from app.hooks.kinds import KINDS

Object = dict[str, Any]


def with_defaults(item: Object) -> Object:
    """The object with the defaults of its kind; those of our kinds are in their schemas, which drop what is unknown."""
    kind = item["kind"]
    if kind in _schemas():
        return item | {key: _structural(_schemas()[kind][key], item[key]) for key in ("spec", "status") if key in item}
    if fill := _DEFAULTS.get(kind):
        fill(item)
    return item


@cache
def _schemas() -> Mapping[str, Any]:
    manifests = {kind.name: kind.to_manifest()["spec"]["versions"][0] for kind in KINDS}
    return {name: version["schema"]["openAPIV3Schema"]["properties"] for name, version in manifests.items()}


def _structural(schema: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_structural(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        properties = schema.get("properties", {}) if isinstance(value, dict) else {}
        return value if not properties else value | _filled(properties, value)
    if "additionalProperties" in schema:
        return {key: _structural(schema["additionalProperties"], item) for key, item in value.items()}
    return _filled(schema.get("properties", {}), value)


def _filled(properties: Any, value: Object) -> Object:
    known = {key: _structural(properties[key], item) for key, item in value.items() if key in properties}
    missing = {key: it["default"] for key, it in properties.items() if key not in value and "default" in it}
    return known | missing


def _pods(template: Object) -> None:
    spec = template["spec"]
    usual = {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
    spec |= {key: value for key, value in usual.items() if key not in spec} | {
        "securityContext": spec.get("securityContext", {})
    }
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        for reference in container.get("env", []):
            if "fieldRef" in reference.get("valueFrom", {}):
                reference["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")


def _deployment(item: Object) -> None:
    item["spec"].setdefault("revisionHistoryLimit", 10)
    item["spec"].setdefault("replicas", 1)
    _pods(item["spec"]["template"])


def _group(item: Object) -> None:
    item["spec"].setdefault("replicas", 1)


def _job(item: Object) -> None:
    spec, metadata = item["spec"], item["metadata"]
    usual = {"completions": 1, "parallelism": 1, "completionMode": "NonIndexed", "suspend": False}
    spec |= {key: value for key, value in usual.items() if key not in spec}
    labels = {"batch.kubernetes.io/controller-uid": metadata["uid"], "batch.kubernetes.io/job-name": metadata["name"]}
    template = spec["template"]
    template["metadata"] = template.get("metadata", {}) | {"labels": template["metadata"].get("labels", {}) | labels}
    spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}})
    _pods(template)


def _claim(item: Object) -> None:
    item["spec"].setdefault("storageClassName", "usual")
    item["spec"].setdefault("volumeMode", "Filesystem")


def _service(item: Object) -> None:
    spec = item["spec"]
    usual = {"clusterIP": "10.0.0.1", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None"}
    spec |= {key: value for key, value in usual.items() if key not in spec}
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        for number, port in enumerate(spec["ports"]):
            port.setdefault("nodePort", 30000 + number)


def _autoscaler(item: Object) -> None:
    down = item["spec"].get("behavior", {}).get("scaleDown", {})
    down.setdefault("selectPolicy", "Max")
    down.setdefault("policies", [{"type": "Percent", "value": 100, "periodSeconds": 15}])


_DEFAULTS: Mapping[str, Callable[[Object], None]] = {
    "Deployment": _deployment,
    "LeaderWorkerSet": _group,
    "Job": _job,
    "PersistentVolumeClaim": _claim,
    "Service": _service,
    "HorizontalPodAutoscaler": _autoscaler,
}
