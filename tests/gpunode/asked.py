"""Asking the hook about one Node."""

from __future__ import annotations

from typing import Any

from app.api.v1alpha1.gpunode import PARTITION_LABEL, PRODUCT_LABEL
from app.gpunode import sync
from app.metacontroller.protocol import DecorateRequest, DecorateResponse, Parent
from app.settings import Settings
from tools.sandbox.api import Object

SETTINGS = Settings()
GPU = "amd.com/gpu"
GIB = 1024**3


def node(
    labels: dict[str, str] | None = None,
    offered: dict[str, int] | None = None,
    *,
    capacity: dict[str, int] | None = None,
    taints: list[Object] | None = None,
    unschedulable: bool = False,
    conditions: list[Object] | None = None,
) -> Object:
    """A bare Node: these labels, and these resources allocatable (and in capacity, unless that is given)."""
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1", "labels": labels or {}, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": ({"taints": taints} if taints else {}) | ({"unschedulable": True} if unschedulable else {}),
        "status": {
            "allocatable": {"cpu": "8", **texts(offered or {})},
            "capacity": {"cpu": "8", **texts(offered or {}), **texts(capacity or {})},
            "conditions": ready if conditions is None else conditions,
        },
    }


def texts(amounts: dict[str, int]) -> dict[str, str]:
    return {name: str(amount) for name, amount in amounts.items()}


def labeller(**values: str) -> dict[str, str]:
    """AMD's labels: device_id="74a1" gives amd.com/gpu.device-id."""
    return {f"amd.com/gpu.{kind.replace('_', '-')}": value for kind, value in values.items()}


def counters(**counts: dict[str, int]) -> dict[str, str]:
    """AMD's counters: device_id={"74a1": 8} gives beta.amd.com/gpu.device-id.74a1=8."""
    return {
        f"beta.amd.com/gpu.{kind.replace('_', '-')}.{value}": str(count)
        for kind, values in counts.items()
        for value, count in values.items()
    }


def ask(asked: Object, settings: Settings = SETTINGS) -> DecorateResponse:
    return sync(DecorateRequest(object=Parent.model_validate(asked)), settings)


def spec_of(asked: Object, settings: Settings = SETTINGS) -> Any:
    """The spec of the one GPUNode."""
    [attachment] = ask(asked, settings).attachments
    assert (attachment["kind"], attachment["metadata"]["name"]) == ("GPUNode", asked["metadata"]["name"])
    return attachment["spec"]


def written(asked: Object, settings: Settings = SETTINGS) -> tuple[str | None, str | None]:
    """The product and partition labels that the Node gets."""
    labels = ask(asked, settings).labels
    assert labels.keys() == {PRODUCT_LABEL, PARTITION_LABEL}
    return labels[PRODUCT_LABEL], labels[PARTITION_LABEL]
