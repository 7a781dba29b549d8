"""What the story applies: the specification's objects, small enough for a machine without GPUs."""

from __future__ import annotations

from tools.sandbox.api import Object
from tools.sandbox.node.world import MODEL

NAMESPACE = "story"
CACHE = "tiny"
BASIC = "basic-test"
ENDPOINT = "basic"
GROUPS = "distributed-test"
SAMPLE = "mpi-test"
ENGINE = {"enforce_eager": True, "max_model_len": 1024, "max_num_seqs": 8}
"""Without compilation, which takes longer here than the story."""


def namespace() -> Object:
    """Its pods must satisfy the strictest of Kubernetes' standards."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def cache() -> Object:
    """The specification's caching test."""
    source = {"type": "huggingface", "huggingface": {"repository": MODEL, "revision": "main"}}
    return _object("ModelCache", CACHE, {"modelName": MODEL, "size": "1Gi", "source": source})


def basic() -> Object:
    """The specification's TestBasicInferenceService, in its own spelling: the service makes its cache itself."""
    spec = {
        "model": {"name": "tiny", "source": f"huggingface://{MODEL}"},
        "resources": {"gpu": {"count": 1, "strategy": "shared"}},
        "vllm": {"engineArgs": ENGINE},
    }
    return _object("InferenceService", BASIC, spec)


def endpoint() -> Object:
    ports = [{"name": "http", "port": 8080, "protocol": "HTTP"}]
    return _object("InferenceEndpoint", ENDPOINT, {"service": BASIC, "expose": {"type": "ClusterIP", "ports": ports}})


def groups() -> Object:
    """The specification's TestDistributedInferenceService: a leader and a worker share the model's layers."""
    spec = {
        "model": {"name": "tiny"},
        "resources": {"gpu": {"count": 2, "strategy": "shared"}},
        "distributed": {"enabled": True, "leaderReplicas": 1, "workerReplicas": 1},
        "storage": {"modelCache": CACHE},
        "vllm": {"engineArgs": {**ENGINE, "tensor_parallel_size": 2}},
    }
    return _object("InferenceService", GROUPS, spec)


def sample() -> Object:
    """The shape of the specification's sample: two nodes, started by MPI."""
    spec = {
        "model": {"name": "tiny", "maxTokens": 1024},
        "vllm": {"engineArgs": {**ENGINE, "tensor_parallel_size": 2, "pipeline_parallel_size": 1}},
        "resources": {"strategy": "dynamic", "totalGpus": 2, "autoOptimize": True},
        "distributed": {
            "enabled": True,
            "size": 2,
            "backend": "lws",
            "mpi": {"enabled": True, "timeout": 300},
        },
        "storage": {"modelCache": CACHE, "sharedMemory": "1Gi", "readOnly": True},
    }
    return _object("InferenceService", SAMPLE, spec)


def _object(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "inference.ai/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
