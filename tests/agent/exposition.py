"""What AMD's device-metrics-exporter answers at /metrics, as far as labels go.

Labels as in docs/configuration/metricslist.md of ROCm/device-metrics-exporter: every sample of a GPU has them all, and
those of the pod are empty while nobody holds the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping

HOLDS_NOTHING = ("", "")


def sample(metric: str, gpu: int, holder: tuple[str, str], **more: str) -> str:
    """One line; `holder` is namespace and name of a pod."""
    namespace, pod = holder
    labels = {
        "card_model": "102-G30213-0C",
        "container": "leader" if pod else "",
        "deployment_mode": "baremetal",
        "gpu_compute_partition_type": "spx",
        "gpu_id": str(gpu),
        "gpu_memory_partition_type": "nps1",
        "gpu_partition_id": "0",
        "hostname": "host",
        "job_id": "",
        "namespace": namespace,
        "pod": pod,
        "serial_number": f"PCB{gpu:04}",
        **more,
    }
    return metric + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "} 1"


def exposition(holders: Mapping[int, tuple[str, str]], gpus: int = 8) -> str:
    """A node's answer; `holders` are the GPUs that a pod holds."""
    lines = ["# HELP gpu_nodes_total Number of GPUs in the node", "# TYPE gpu_nodes_total gauge"]
    lines.append(f'gpu_nodes_total{{hostname="host"}} {gpus}')
    for metric in ("gpu_health", "gpu_used_vram"):
        lines += [f"# HELP {metric} of a GPU", f"# TYPE {metric} gauge"]
        lines += [sample(metric, gpu, holders.get(gpu, HOLDS_NOTHING)) for gpu in range(gpus)]
    return "\n".join(lines) + "\n"
