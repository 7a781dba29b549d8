"""The contract between the operator and its runtime images: commands, environment, ports and paths.

The operator's builder and the images' entry scripts both read this module, which the images copy: the standard library
only. No variable of ours starts with VLLM_, because vLLM warns about unknown ones of that prefix. In a LeaderWorkerSet,
LWS itself adds LWS_LEADER_ADDRESS, LWS_GROUP_SIZE and LWS_WORKER_INDEX; the scripts turn them into --nnodes,
--node-rank, --master-addr and --headless.
"""

from enum import StrEnum

START_LEADER = "start-leader"
START_WORKER = "start-worker"
"""Commands on the images' PATH; their arguments are those of `vllm serve`, the same on all nodes of a group."""
HEALTH_CHECK = "health-check"
DRAIN_WORKER = "drain-worker"
"""A worker's stop hook: it lasts until the leader has drained, at most the seconds it is given."""
MAKE_SSH_KEYS = "make-ssh-keys"
"""Creates the Secret with a service's ssh keys, once."""

HTTP_PORT = 8000
"""vLLM's API, /health and /metrics; networking.ports.http is the Service's port and leads here."""
MASTER_PORT = 29501
"""Rendezvous of native multi-node groups, on the leader."""
JOIN_PORT = 29490
"""Where the pods of a native group report to their leader before vLLM starts: who is missing is then known by name."""
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
JOIN_PORT_VARIABLE = "INFERENCE_JOIN_PORT"
JOIN_SECONDS = "INFERENCE_JOIN_SECONDS"
"""Seconds until all pods of a group must have met."""
MODEL_SECONDS = "INFERENCE_MODEL_SECONDS"
"""Seconds until the model's folder must be published."""
START_SECONDS = "INFERENCE_START_SECONDS"
"""Seconds that the startup probe allows; in its last ones the probe says what was wrong."""
STALL_SECONDS = "INFERENCE_STALL_SECONDS"
"""Seconds without a step of an engine that runs requests until it is called hung, half of the longest step that vLLM
allows when unset; the operator never sets it."""
TERMINATION_LOG = "INFERENCE_TERMINATION_LOG"
"""File that takes the termination message, /dev/termination-log when unset; the operator never sets it."""

PROBE_PERIOD_SECONDS = 10
PROBE_TIMEOUT_SECONDS = 10
"""How often the kubelet asks a serving pod, and how long it waits."""

LEADER_ADDRESS = "LWS_LEADER_ADDRESS"
GROUP_SIZE = "LWS_GROUP_SIZE"
WORKER_INDEX = "LWS_WORKER_INDEX"
"""Set by LeaderWorkerSet in every container; 0 is the leader."""
HOST_IP = "VLLM_HOST_IP"
"""The pod's own address; vLLM's own variable."""

PUBLISHED = (".inference-manifest.json", "config.json")
"""Either file in a model's folder says that the model is complete: the downloader writes the first one last and renames
the whole folder; in a folder that was filled by hand, config.json must come last."""

SSH_FOLDER = "/etc/inference/ssh"
SSH_KEY = "ssh-privatekey"
"""Key of the Secret, as in the type kubernetes.io/ssh-auth. All pods of a group prove who they are by this one pair."""

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
COMPILE_CACHE = f"{CACHE_HOME}/compile"
"""Where a claim is mounted that keeps compiled kernels and graphs from one start to the next."""
COMPILE_VARIABLES = {
    "AITER_JIT_DIR": f"{COMPILE_CACHE}/aiter",
    "TORCHINDUCTOR_CACHE_DIR": f"{COMPILE_CACHE}/inductor",
    "TRITON_CACHE_DIR": f"{COMPILE_CACHE}/triton",
    "VLLM_CACHE_ROOT": f"{COMPILE_CACHE}/vllm",
}
"""The same caches where such a claim is given; downloads stay on the pod's own volume."""

SECRET_NAME = "INFERENCE_SECRET_NAME"
SECRET_OWNER = "INFERENCE_SECRET_OWNER"
"""An ownerReference as JSON: the service that the keys are for."""
SECRET_LABELS = "INFERENCE_SECRET_LABELS"
"""For the Job that makes ssh keys."""
