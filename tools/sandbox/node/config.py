"""Files that the node's programs are started with. Why each unusual value is there stands beside it."""

from __future__ import annotations

import json
from pathlib import Path

from tools.sandbox.api import Object
from tools.sandbox.node import addresses, cgroups

PAUSE_IMAGE = "docker.io/sandbox/pause:1"
"""With registry and tag: containerd would look a shorter name up in a registry."""
CNI_PROGRAMS = "/usr/lib/cni"
NODE_NAME = "real-0"
KUBELET_PORT = 10250


def write_containerd(directory: Path, root: Path, *, cri: bool) -> Path:
    """containerd beside the system's: root, state, socket and shims of its own. Without CRI it only keeps images."""
    path = directory / ("containerd.toml" if cri else "images.toml")
    disabled = "[]" if cri else '["io.containerd.grpc.v1.cri"]'
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE, as on small virtual machines, no sandbox could start.
    path.write_text(f"""version = 2
root = "{root}"
state = "{directory}/containerd"
disabled_plugins = {disabled}
[grpc]
  address = "{socket(directory)}"
[ttrpc]
  address = "{socket(directory)}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{directory}/cni"
""")
    return path


def socket(directory: Path) -> Path:
    return directory / "containerd.sock"


def write_network(directory: Path) -> None:
    """One bridge; addresses from a file. Pods reach the host and each other, and nothing beyond."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(directory / "addresses"),
            "ranges": [[{"subnet": addresses.PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    network = {"cniVersion": "1.0.0", "name": "sandbox", "plugins": [bridge]}
    (directory / "cni").mkdir(exist_ok=True)
    (directory / "cni" / "10-sandbox.conflist").write_text(json.dumps(network))


def write_kubelet(directory: Path) -> Path:
    """It answers anybody, for only this machine can reach the link."""
    resolve = directory / "resolv.conf"
    resolve.write_text(f"nameserver {addresses.NODE}\n")
    return _write(
        directory / "kubelet.json",
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": addresses.NODE,
            "port": KUBELET_PORT,
            "healthzPort": 0,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{socket(directory)}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.NAME}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            # The image store is shared with the host's file system, so its use says nothing of the pods'.
            "localStorageCapacityIsolation": False,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            # Images stay for the next run.
            "imageGCHighThresholdPercent": 100,
            "imageMaximumGCAge": "0s",
            "clusterDNS": [addresses.NODE],
            "clusterDomain": "cluster.local",
            "resolvConf": str(resolve),
            "podLogsDir": str(directory / "pod-logs"),
            "volumePluginDir": str(directory / "volume-plugins"),
            "syncFrequency": "5s",
            "serializeImagePulls": False,
        },
    )


def write_proxy(directory: Path, kubeconfig: Path) -> Path:
    """masqueradeAll: answers of pods on one bridge would not come by the node, which must undo its rewriting."""
    return _write(
        directory / "kube-proxy.json",
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "hostnameOverride": NODE_NAME,
            "clusterCIDR": addresses.PODS,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "iptables": {"masqueradeAll": True, "minSyncPeriod": "0s"},
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # Limits of connection tracking belong to the whole machine.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        },
    )


def write_dns(directory: Path, kubeconfig: Path, context: str) -> Path:
    path = directory / "Corefile"
    path.write_text(f""".:53 {{
  bind {addresses.NODE}
  errors
  kubernetes cluster.local {{
    kubeconfig {kubeconfig} {context}
    pods insecure
    ttl 1
  }}
}}
""")
    return path


def _write(path: Path, content: Object) -> Path:
    path.write_text(json.dumps(content, indent=2))
    return path
