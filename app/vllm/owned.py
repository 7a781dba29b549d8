"""Arguments and variables that the operator sets itself, and what a user writes instead."""

from __future__ import annotations

_GROUP = "the operator sets it from distributed.size"
_RANKS = "the operator and its images set it for every node; set data_parallel_size"
_PORTS = "the container's port is fixed; set networking.ports.http for the Service"
_TLS = "TLS ends at the ingress; set networking.ingress.tls"
_GPUS = "the device plugin decides which GPUs a container sees; remove it"
_TOKEN = "it would stand in plain text in the pod template; fetch the model with a ModelCache, whose secret holds it"

ARGUMENTS = {
    "model": "set model.name, storage.modelCache or model.source",
    "model_tag": "set model.name, storage.modelCache or model.source",
    "served_model_name": "set model.name",
    "temperature": "vLLM has no such argument; set model.temperature",
    "shutdown_timeout": "the operator sets it to match the pod's termination grace period",
    "host": _PORTS,
    "port": _PORTS,
    "uds": _PORTS,
    "grpc": "it would replace the HTTP API; leave it out",
    "grpc_port": "vLLM serves no gRPC next to HTTP by default; leave it out",
    "config": "write its entries under engineArgs",
    "headless": _GROUP,
    "nnodes": _GROUP,
    "node_rank": _GROUP,
    "master_addr": _GROUP,
    "master_port": _GROUP,
    "api_key": "it would stand in plain text in the pod template; check keys at the ingress",
    "hf_token": _TOKEN,
    "enable_ssl_refresh": _TLS,
    "data_parallel_rank": _RANKS,
    "data_parallel_start_rank": _RANKS,
    "data_parallel_size_local": _RANKS,
    "data_parallel_address": _RANKS,
    "data_parallel_rpc_port": _RANKS,
    "data_parallel_hybrid_lb": _RANKS,
    "data_parallel_external_lb": _RANKS,
    "data_parallel_multi_port_external_lb": _RANKS,
    "data_parallel_supervisor_port": _RANKS,
}

VARIABLES = {
    "VLLM_HOST_IP": "the operator sets it to the pod's address",
    "VLLM_PORT": _PORTS,
    "VLLM_API_KEY": "it would stand in plain text in the pod template; check keys at the ingress",
    "ROCM_VERSION": "the image decides; remove it",
    "HF_TOKEN": _TOKEN,
    "HUGGING_FACE_HUB_TOKEN": _TOKEN,
}


def argument_owner(name: str) -> str:
    """What to do instead of giving this argument, in whatever case it is written; "" when users may give it."""
    name = name.lower()
    return _TLS if name.startswith("ssl_") else ARGUMENTS.get(name, "")


def variable_owner(name: str) -> str:
    """What to do instead of giving this variable; "" when users may give it."""
    if name.startswith("LWS_"):
        return "LeaderWorkerSet sets it; choose another name"
    if name.startswith("INFERENCE_"):
        return "names that start with INFERENCE_ are the operator's; choose another name"
    return _GPUS if name.endswith("_VISIBLE_DEVICES") else VARIABLES.get(name, "")
