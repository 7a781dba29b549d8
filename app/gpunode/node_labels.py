"""What AMD's own labels say of a node's GPUs.

AMD's node labeller writes, for each kind of fact that it was started with (vram, device-id, ...):

    amd.com/gpu.<kind>=<value>, beta.amd.com/gpu.<kind>=<value>    when all GPUs of the node agree
    beta.amd.com/gpu.<kind>.<value>=<count>                        always
    amd.com/gpu.<kind>.<value>=<count>                             when they do not agree

It runs once, at its start, so after a repartition all of this may be out of date. AMD's metrics exporter writes
metricsexporter.amd.com.gpu.<id>.state=unhealthy.
Source: ROCm/k8s-device-plugin cmd/k8s-node-labeller/main.go; ROCm/gpu-operator, health checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

STABLE_PREFIX = "amd.com/gpu."
BETA_PREFIX = "beta.amd.com/gpu."
PARTITION_KIND = "compute-memory-partition"

# What is counted device by device; family and firmware tell nothing that is used.
_COUNTED = ("cu-count", "device-id", "product-name", "simd-count", "vram")
_MODE = re.compile(r"[sdtqc]px_nps[1-8]")
_VRAM = re.compile(r"([1-9][0-9]{0,5})G", re.ASCII)
_STATE = re.compile(r"metricsexporter\.amd\.com\.gpu\..+\.state")


@dataclass(frozen=True)
class LabelledHardware:
    """The labels of one node, read. A tuple holds more than one value only where GPUs of a node differ."""

    device_ids: tuple[str, ...]
    product_names: tuple[str, ...]
    vram_gib: tuple[int, ...]
    """GiB of memory of one GPU or partition, rounded."""
    mode: str | None
    """Partition mode, for example cpx_nps4; told only where all GPUs have the same."""
    counted: Mapping[str, int]
    """GPUs that the counters of one kind add up to, for example {"device-id": 8}."""
    unhealthy: int
    """GPUs that AMD's metrics exporter calls unhealthy."""


def has_hardware_labels(labels: Mapping[str, str]) -> bool:
    """Whether AMD's labeller was here."""
    return any(label.startswith((STABLE_PREFIX, BETA_PREFIX)) for label in labels)


def read_hardware_labels(labels: Mapping[str, str]) -> LabelledHardware:
    counted = {kind: sum(_counters(labels, kind).values()) for kind in _COUNTED}
    modes = [mode.lower() for mode in _values(labels, PARTITION_KIND)]
    sizes = (_VRAM.fullmatch(value) for value in _values(labels, "vram"))
    return LabelledHardware(
        device_ids=_values(labels, "device-id"),
        product_names=_values(labels, "product-name"),
        vram_gib=tuple(sorted(int(size[1]) for size in sizes if size)),
        mode=modes[0] if len(modes) == 1 and _MODE.fullmatch(modes[0]) else None,
        counted={kind: total for kind, total in counted.items() if total},
        unhealthy=sum(value == "unhealthy" for label, value in labels.items() if _STATE.fullmatch(label)),
    )


def _values(labels: Mapping[str, str], kind: str) -> tuple[str, ...]:
    """The value that all GPUs share, else the values that were counted."""
    shared = labels.get(STABLE_PREFIX + kind) or labels.get(BETA_PREFIX + kind)
    return (shared,) if shared else tuple(sorted(_counters(labels, kind)))


def _counters(labels: Mapping[str, str], kind: str) -> dict[str, int]:
    """GPUs by value; both prefixes tell the same."""
    return {
        label.removeprefix(prefix): int(count)
        for prefix in (f"{STABLE_PREFIX}{kind}.", f"{BETA_PREFIX}{kind}.")
        for label, count in labels.items()
        if label.startswith(prefix) and count.isdecimal() and count.isascii()
    }
