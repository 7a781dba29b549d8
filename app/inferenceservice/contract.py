"""The contract between the operator and its runtime images: commands, environment, ports and paths.

The images' entry scripts read these and nothing else. No variable of ours starts with VLLM_, because vLLM warns about
unknown ones of that prefix. In a LeaderWorkerSet, LWS itself adds LWS_LEADER_ADDRESS, LWS_GROUP_SIZE and
LWS_WORKER_INDEX; the scripts turn them into --nnodes, --node-rank, --master-addr and --headless.
"""

from enum import StrEnum

START_LEADER = "start-leader"
START_WORKER = "start-worker"
"""Commands on the images' PATH; their arguments are those of `vllm serve`, the same on all nodes of a group."""

HTTP_PORT = 8000
"""vLLM's API, /health and /metrics; networking.ports.http is the Service's port and leads here."""
MASTER_PORT = 29501
"""Rendezvous of native multi-node groups, on the leader."""
RAY_PORT = 6379
SSH_PORT = 2222
"""mpirun reaches a worker's non-root sshd here."""

MODEL_STORE = "/model-store"
CACHE_HOME = "/var/cache/inference"
"""The one writable folder besides /tmp and /dev/shm: compiled kernels, graphs, tokenizers."""


class LaunchMode(StrEnum):
    """How the processes of a group are started."""

    SINGLE = "single"
    NATIVE = "native"
    RAY = "ray"
    MPI = "mpi"


LAUNCH_MODE = "INFERENCE_LAUNCH_MODE"
MODEL_PATH = "INFERENCE_MODEL_PATH"
"""Folder that must hold the published model before vLLM starts; unset when vLLM fetches the model itself."""
GPUS = "INFERENCE_GPUS"
"""GPUs this pod must see."""
HTTP_PORT_VARIABLE = "INFERENCE_HTTP_PORT"
MASTER_PORT_VARIABLE = "INFERENCE_MASTER_PORT"
RAY_PORT_VARIABLE = "INFERENCE_RAY_PORT"
SSH_PORT_VARIABLE = "INFERENCE_SSH_PORT"
MPI_TIMEOUT = "INFERENCE_MPI_TIMEOUT"
"""Seconds until all nodes must have joined."""

CACHE_VARIABLES = {
    "AITER_JIT_DIR": f"{CACHE_HOME}/aiter",
    "HF_HOME": f"{CACHE_HOME}/huggingface",
    "HOME": CACHE_HOME,
    "TORCHINDUCTOR_CACHE_DIR": f"{CACHE_HOME}/inductor",
    "TRITON_CACHE_DIR": f"{CACHE_HOME}/triton",
    "VLLM_CACHE_ROOT": f"{CACHE_HOME}/vllm",
    "XDG_CACHE_HOME": CACHE_HOME,
}
"""Every cache that ROCm, Triton, AITER and vLLM write, because the root file system is read-only."""
