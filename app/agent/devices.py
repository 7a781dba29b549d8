"""Which devices kubelet gave to the pods of services, as AMD's device-metrics-exporter tells -> GPUAllocation.status.

The exporter labels every sample of a GPU with the pod that holds it. Devices stay with a pod until it ends, so each pod
is looked up once: what its GPUAllocation's status tells already is not asked for again.
Source of the labels: ROCm/device-metrics-exporter, docs/configuration/metricslist.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from app.agent.groups import assign_groups, parse_earlier
from app.agent.patch import Patch, Target, plan_statuses
from app.agent.snapshot import Allocation, Device, Key, Pod, Snapshot
from app.api.v1alpha1.gpuallocation import AssignedDevice, GPUAllocationStatus
from app.kube.lenient import mappings_at, text_at

LONGEST_NAME = 64
"""Characters of a GPU's number or serial number, which the exporter's pod says and a status keeps."""


def find_unknown(snapshot: Snapshot) -> dict[str, list[Pod]]:
    """Running pods whose devices nobody has told yet, by node."""
    unknown: defaultdict[str, list[Pod]] = defaultdict(list)
    for key, allocation in snapshot.allocations.items():
        told = _told(allocation)
        for pod in snapshot.members.get(key, ()):
            if _holds(pod) and _has_started(pod) and pod.uid not in told and pod.uid not in snapshot.devices:
                unknown[pod.node].append(pod)
    return dict(unknown)


def parse_samples(text: str, pods: Iterable[Pod]) -> dict[str, list[Device]]:
    """Devices of those pods for which the exporter names as many as they hold; the others may not have started.

    Raises ValueError when a sample cannot be read.
    """
    wanted = {(pod.namespace, pod.name): pod for pod in pods}
    found: defaultdict[str, set[Device]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            pod = wanted.get((labels.get("namespace", ""), labels.get("pod", "")))
            if pod and labels.get("gpu_id") and labels.get("pod_uuid", "") in ("", pod.uid):
                found[pod.uid].add(_parse_device(labels))
    held = {pod.uid: pod.total for pod in wanted.values()}
    return {uid: sorted(devices, key=_by_number) for uid, devices in found.items() if len(devices) == held[uid]}


def _parse_device(labels: Mapping[str, str]) -> Device:
    device = Device(labels["gpu_id"], labels.get("serial_number", ""))
    if max(len(device.id), len(device.serial)) > LONGEST_NAME:
        raise ValueError(f"a GPU's number or serial number has more than {LONGEST_NAME} characters")
    return device


def plan_devices(snapshot: Snapshot) -> list[Patch]:
    """Patches of the GPUAllocations whose status is not what is known of their pods' devices."""
    return plan_statuses(Target.GPU_ALLOCATION, snapshot.allocations, partial(build_status, snapshot))


def build_status(snapshot: Snapshot, key: Key) -> GPUAllocationStatus:
    """The status of one GPUAllocation: one entry a device."""
    known = {**snapshot.devices, **_told(snapshot.allocations[key])}
    pods = [pod for pod in snapshot.members.get(key, ()) if _holds(pod) and pod.uid in known]
    if not pods:
        return GPUAllocationStatus()
    groups = assign_groups(snapshot.members[key], parse_earlier(snapshot.requests[key].status))
    devices = [
        AssignedDevice(
            pod=pod.name,
            pod_uid=pod.uid,
            group=groups[pod.name],
            worker=pod.member.worker if pod.member else 0,
            node=pod.node,
            device=device.id,
            serial_number=device.serial,
        )
        for pod in pods
        for device in known[pod.uid]
    ]
    return GPUAllocationStatus(devices=sorted(devices, key=lambda it: (it.group, it.worker, it.pod)))


def _holds(pod: Pod) -> bool:
    return bool(pod.node and pod.total and not pod.ended)


def _has_started(pod: Pod) -> bool:
    """Kubelet has given a pod its devices before its first container runs."""
    return bool(pod.member and pod.member.started_at)


def _told(allocation: Allocation) -> dict[str, list[Device]]:
    told: defaultdict[str, list[Device]] = defaultdict(list)
    for entry in mappings_at(allocation.status, "devices"):
        told[text_at(entry, "podUid")].append(Device(text_at(entry, "device"), text_at(entry, "serialNumber")))
    return dict(told)


def _by_number(device: Device) -> tuple[int, str]:
    return (int(device.id) if device.id.isdecimal() and len(device.id) <= 9 else 0, device.id)
