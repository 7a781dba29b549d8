"""What people write, as merge patches over specs: good, broken, and the same in other words."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Spec = dict[str, Any]
SERVICES = ("red/a", "red/b", "blue/c")
CACHES = ("red/w", "red/v")
ENDPOINTS = ("red/e",)
POOLS = ("default", "spare")
NODES = tuple(f"n-{index}" for index in range(3))
PARENTS = (
    *(("InferenceService", it) for it in SERVICES),
    *(("ModelCache", it) for it in CACHES),
    *(("InferenceEndpoint", it) for it in ENDPOINTS),
    *(("GPUPool", it) for it in POOLS),
)
SPREAD = {"resources": {"totalGpus": 4, "gpu": None, "strategy": None}}
services = st.sampled_from(
    [
        {"model": {"name": "org/m"}, "resources": {"totalGpus": 2, "cpuRequest": "1"}},
        {"model": {"name": "org/m"}, "resources": {"totalGpus": 8, "cpuRequest": "1"}},
        {"model": {"name": "org/m", "source": "hf://org/m"}, "resources": {"totalGpus": 2, "cpuRequest": "1"}},
        {"model": {"name": "meta-llama/Llama-2-7b-chat-hf"}, "resources": {"gpu": {"count": 1}, "cpuRequest": "1"}},
        {
            "model": {"name": "org/m"}, "resources": {"totalGpus": 4, "cpuRequest": "1", "sharing": "exclusive"},
            "distributed": {"enabled": True, "size": 2},
        },
        {
            "model": {"name": "org/m"}, "resources": {"totalGpus": 2, "cpuRequest": "1"},
            "storage": {"modelCache": "w"}, "replicas": 2,
        },
    ]
)  # fmt: skip
service_edits = st.sampled_from(
    [
        {"vllm": {"engineArgs": {"max_num_seqs": 8}}},
        {"vllm": {"engineArgs": {"max_num_seqs": 16, "tensor_parallel_size": None}}},
        {"vllm": {"engineArgs": {"tensor_parallel_size": 2}}},
        {"vllm": {"envVars": {"VLLM_LOGGING_LEVEL": "DEBUG"}}},
        {"model": {"source": "hf://org/m"}, "storage": None},
        {"model": {"source": "s3://bucket/m"}, "storage": None},
        {"model": {"source": None}},
        {"model": {"name": "meta-llama/Llama-2-70b-hf"}},
        {"storage": {"modelCache": "w"}, "model": {"source": None}},
        {"storage": {"modelCache": "v"}, "model": {"source": None}},
        {"storage": {"modelCache": None, "sharedMemory": "8Gi"}},
        {"distributed": {"enabled": True, "size": 2}, **SPREAD},
        {"distributed": {"enabled": True, "size": 2, "mpi": {"enabled": True}}, **SPREAD},
        {"distributed": {"enabled": True, "size": None, "workerReplicas": 1, "mpi": {"enabled": False}}, **SPREAD},
        {"distributed": {"enabled": True, "size": 3}, "resources": {"totalGpus": 3, "strategy": "static"}},
        {"distributed": {"enabled": False}, "resources": {"strategy": None}},
        {"resources": {"totalGpus": 2, "gpu": None}},
        {"resources": {"totalGpus": None, "gpu": {"count": 2}}},
        {"resources": {"totalGpus": 6, "gpu": {"count": None}}},
        {"resources": {"sharing": "exclusive"}},
        {"resources": {"sharing": "shared"}},
        {"resources": {"strategy": "topology-aware"}},
        {"resources": {"strategy": "dynamic", "autoOptimize": True}},
        {"resources": {"pool": "spare"}},
        {"resources": {"pool": None}},
        {"resources": {"priority": 10}},
        {"resources": {"priority": None}},
        {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 3}},
        {"autoscaling": {"enabled": False}},
        {"replicas": 0},
        {"replicas": 1},
        {"replicas": 2},
        {"replicas": 3},
        {"networking": {"ingress": {"enabled": True, "host": "a.example"}}},
        {"networking": {"ingress": {"enabled": False}, "serviceType": "LoadBalancer"}},
        {"networking": {"serviceType": "ClusterIP"}},
        {"monitoring": {"enabled": False}},
    ]
)
other_words = st.sampled_from(["count", "total", "sharing", "workers", "size", "number", "defaults"])
"""The same meaning in another spelling, see tests.net.users.respelled."""
broken_services = st.sampled_from(
    [
        {"vllm": {"engineArgs": {"max_num_seqs": "many"}}},
        {"vllm": {"engineArgs": {"nnodes": 3}}},
        {"resources": {"totalGpus": 3}, "distributed": {"enabled": True, "size": 2}},
        {"resources": {"totalGpus": -1}},
        {"model": {"name": ""}},
        {"model": None},
        {"resources": {"gpu": {"resource": "amd.com/nic"}}},
        {"replicas": "several"},
        {"networking": {"ports": {"http": 99999}}},
        {"distributed": "yes"},
    ]
)
caches = st.sampled_from(
    [
        {"modelName": "org/m"},
        {"modelName": "org/m", "accessMode": "ReadWriteOnce"},
        {"modelName": "org/m", "accessMode": "ReadWriteOnce", "caching": {"replicas": 2}},
        {"modelName": "org/m", "existingClaim": "theirs"},
        {"modelName": "org/m", "caching": {"enabled": False}},
        {"modelName": "org/m", "hostPath": "/mnt/models/red"},
    ]
)
cache_edits = st.sampled_from(
    [
        {"modelName": "org/m", "source": None},
        {"modelName": "org/other", "source": None},
        {"modelName": "llama", "source": None},
        {"source": {"type": "huggingface", "huggingface": {"repository": "org/m", "revision": "v2"}, "s3": None}},
        {"source": {"type": "s3", "s3": {"bucket": "my-models", "key": "a"}, "huggingface": None}},
        {"size": "20Gi"},
        {"size": "200Gi"},
        {"size": None},
        {"downloadPolicy": "Always"},
        {"downloadPolicy": "Always", "refreshInterval": "1h"},
        {"downloadPolicy": "Never", "refreshInterval": None},
        {"downloadPolicy": "IfNotPresent", "refreshInterval": None},
        {"storageClass": "slow"},
        {"accessMode": "ReadWriteOnce", "caching": {"replicas": 2}},
        {"accessMode": "ReadWriteMany"},
        {"caching": {"replicas": 1}},
        {"caching": {"enabled": False}},
        {"caching": {"enabled": True}},
        {"existingClaim": "theirs", "hostPath": None},
        {"existingClaim": None},
        {"hostPath": "/mnt/models/red", "existingClaim": None},
        {"hostPath": "/etc", "existingClaim": None},
        {"hostPath": None},
    ]
)
broken_caches = st.sampled_from(
    [{"modelName": ""}, {"modelName": None}, {"size": "much"}, {"source": {"type": "s3", "s3": None}}]
)
endpoint_edits = st.sampled_from(
    [
        {"service": "a"},
        {"service": "b"},
        {"service": "nobody"},
        {"expose": {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80}]}},
        {"expose": {"type": "NodePort", "ports": [{"name": "odd", "port": 81, "targetPort": 9}]}},
        {"expose": {"type": "ClusterIP", "ports": None}},
        {"ingress": {"enabled": True, "host": "e.example"}},
        {"ingress": {"enabled": False}},
        {"routing": {"strategy": "weighted"}},
        {"expose": {"ports": [{"name": "rpc", "port": 9, "protocol": "gRPC"}]}},
        {"service": ""},
    ]
)
RACK = "cloud.provider.com/topology-rack"
pool_edits = st.sampled_from(
    [
        {"nodeSelector": None},
        {"nodeSelector": {"matchLabels": {RACK: "r0"}}},
        {"nodeSelector": {"matchLabels": {RACK: "r1"}}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "red"}}},
        {"namespaceSelector": None},
        {"limits": [{"gpus": 4}]},
        {"limits": [{"gpus": 16, "maxPriority": 0}]},
        {"limits": None},
        {"reserveAfter": "1m"},
        {"reserveAfter": "soon"},
    ]
)


def respelled(spec: Spec, words: str) -> Spec:
    """A merge patch that says the same in other words; {} where these words say nothing here."""
    resources, group = spec.get("resources") or {}, spec.get("distributed") or {}
    total, count = resources.get("totalGpus"), (resources.get("gpu") or {}).get("count")
    sharing = resources.get("sharing")
    if words == "count" and total:
        return {"resources": {"totalGpus": None, "gpu": {"count": total}}}
    if words == "total" and count:
        return {"resources": {"totalGpus": count, "gpu": {"count": None}}}
    if words == "sharing" and sharing:
        return {"resources": {"sharing": None, "gpu": {"strategy": sharing}}}
    if words == "workers" and group.get("enabled") and group.get("size"):
        return {"distributed": {"size": None, "workerReplicas": group["size"] - 1, "leaderReplicas": 1}}
    if words == "size" and group.get("enabled") and group.get("workerReplicas") is not None:
        return {"distributed": {"size": group["workerReplicas"] + 1, "workerReplicas": None, "leaderReplicas": None}}
    if words == "number" and resources.get("cpuRequest") == "1":
        return {"resources": {"cpuRequest": 1}}
    if words == "defaults":
        return {"vllm": spec.get("vllm") or {}, "storage": {"sharedMemory": "16Gi"} | (spec.get("storage") or {})}
    return {}
