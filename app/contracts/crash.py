"""The end of vLLM's log -> the line that tells why it ended, and what kind of cause that is.

One failure is told many times: by the worker that met it, by the engine that lost its worker, and last by the API
server, whose "Engine core initialization failed. See root cause above" is all that a log's last lines hold. Of the
exceptions, those that only report another one count least; of the rest the last says most, because Python prints a
chain from its beginning. Source of the texts: vLLM 0.33, transformers, huggingface_hub, torch for ROCm.

The images copy this module, so that a container's termination message is the cause: the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

TEXT_LIMIT = 1000
"""Characters of a cause; the kubelet keeps 4,096 bytes of a termination message."""


class CauseKind(StrEnum):
    """What must happen for the next start to go better."""

    GPU_MEMORY = "gpu-memory"  # another length, share of memory or number of GPUs
    RESOURCE = "resource"  # room on a disk or in memory
    CONFIGURATION = "configuration"  # an edit: argument, model, token, image
    EXTERNAL = "external"  # a driver, a device, the network, somebody's server
    TRANSIENT = "transient"  # perhaps nothing: another pod went, or came too late
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cause:
    text: str
    kind: CauseKind
    advice: str = ""
    """What to do, where vLLM does not say it in this operator's words."""


@dataclass(frozen=True)
class _Rule:
    kind: CauseKind
    pattern: re.Pattern[str]
    advice: str = ""


def _rule(kind: CauseKind, pattern: str, advice: str = "") -> _Rule:
    return _Rule(kind, re.compile(pattern, re.I), advice)


_RULES: Sequence[_Rule] = (
    _rule(CauseKind.RESOURCE, r"ray\.exceptions\.OutOfMemoryError|node running low on memory"),
    _rule(
        CauseKind.GPU_MEMORY,
        r"(HIP|CUDA)( error:)? out of memory|hipErrorOutOfMemory|\bOutOfMemoryError|HSA_STATUS_ERROR_OUT_OF_RESOURCES"
        r"|No available memory for the cache blocks|KV cache .{0,80}larger than the available"
        r"|larger than the maximum number of tokens that can be stored in KV cache"
        r"|less than desired GPU memory utilization|out of memory occurred (when|while)"
        r"|Available KV cache memory .{0,80}(not|in)sufficient|to serve even a single token"
        r"|Error in memory profiling|(HIP|CU)BLAS_STATUS_ALLOC_FAILED",
    ),
    _rule(
        CauseKind.RESOURCE,
        r"No space left on device|Errno 28\b|Disk quota exceeded|Too many open files|Errno 24\b|Cannot allocate memory"
        r"|Bus error|\bMemoryError\b|unable to (mmap|allocate|open shared memory)|creating shared memory segment"
        r"|std::bad_alloc|can't start new thread|pthread_create failed|Resource temporarily unavailable",
    ),
    _rule(
        CauseKind.EXTERNAL,
        r"ProxyError|Tunnel connection failed|Proxy Authentication Required",
        "the proxy between the pod and that server refuses: correct vllm.envVars, or the proxy's own rules",
    ),
    _rule(CauseKind.EXTERNAL, r"CAS service error|xethub\.hf\.co"),
    _rule(
        CauseKind.EXTERNAL,
        r"/dev/(kfd|dri)\b",
        "the pod may not open the GPU's device files: the administrator sets INFERENCE_SUPPLEMENTAL_GROUPS to the "
        "group that they have on the nodes",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"gated repo|GatedRepoError|\b(401|403) (Client Error|Unauthorized|Forbidden)|'(401|403) |Invalid user token",
        "fetch the model with a ModelCache whose source names a Secret with a token that may read it",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"offline mode is enabled|OfflineModeIsEnabled|LocalEntryNotFoundError|HF_HUB_OFFLINE"
        r"|couldn't find (it|them) in the cached files",
        "a model that comes from a ModelCache is served offline: whatever else engineArgs name must be a path in it",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"trust_remote_code|requires you to execute the (configuration|modeling|tokenizer) file|contains custom code",
        "if you trust the code of the model's repository, set vllm.engineArgs.trust_remote_code to true",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"hipErrorNoBinaryForGpu|no kernel image is available|invalid device function|HSA_STATUS_ERROR_INVALID_ISA"
        r"|Unable to find code object for all current devices|Cannot find (the )?code object|TensileLibrary"
        r"|initialize Tensile host|object has no attribute '?(_C|_moe_C|_rocm_C)\b|'_OpNamespace' '_\w*C'",
        "the image has no code for this GPU: take an image that is built for it, or another product",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"git-lfs\.github\.com/spec",
        "the volume holds pointers of Git LFS where files should be: fetch the model with a ModelCache",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"Cannot find any .{0,40}weights",
        "a ModelCache leaves the publisher's own layout out (consolidated*.safetensors, original/) where the converted "
        "weights are there too: name it in the source's include, or leave engineArgs.load_format out",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"no socket interface found|Unable to find address for:|ncclInvalidUsage|ifa != nullptr",
        "correct NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME in vllm.envVars, or leave them out",
    ),
    _rule(
        CauseKind.CONFIGURATION,
        r"unrecognized arguments?:|: error: |invalid choice:|expected (one|at least one) argument"
        r"|validation errors? for"
        r"|greater than the derived max_model_len|must be divisible by|divisible by tensor parallel"
        r"|is not a valid model identifier|is not a local folder|RepositoryNotFoundError|RevisionNotFoundError"
        r"|Repository Not Found|Entry Not Found|404 Client Error|Invalid repository ID|HFValidationError"
        r"|FileNotFoundError|No such file or directory|does not appear to have a file named"
        r"|Unable to load vocabulary|Couldn't instantiate the backend tokenizer|Can't load (the )?(tokenizer|config)"
        r"|Tokenizer class .{1,80} does not exist|SafetensorError|header too (large|small)|Error while deserializing"
        r"|UnpicklingError|JSONDecodeError"
        r"|not supported (for now|anymore|in|by|on|with)|is not supported|are not supported|not currently supported"
        r"|no vLLM implementation|does not recognize this architecture|does not support|cannot be used with"
        r"|is incompatible"
        r"|Unknown (quantization|dtype|load_format|reasoning parser)|quantization method .{0,80}does not match"
        r"|ModuleNotFoundError|ImportError|No module named|PermissionError|Permission denied|Read-only file system"
        r"|failed to be opened|chat template|max_lora_rank|greater than max_loras|Address already in use|Errno 98\b"
        r"|errno: 98\b|Errno 97\b|errno: 97\b|Address family not supported|world size .{0,80}(larger|greater) than"
        r"|Errno 99\b|Cannot assign requested address"
        r"|not divisible by|not aligned with the quantized weight|Attempted to load weight|PytorchStreamReader failed"
        r"|uid not found|Failed to find .{0,40}backend|NoCredentialsError|undefined symbol"
        r"|Version mismatch: The cluster|does not allocate any GPUs|exceeds the total number of available GPUs"
        r"|out of resource: shared memory"
        r"|Following weights were not initialized|size mismatch for|invalid tool call parser|invalid reasoning parser",
    ),
    _rule(
        CauseKind.EXTERNAL,
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLError|SSLCertVerificationError|self-signed certif",
        "the pod does not know who signed that server's certificate: fetch the model with a ModelCache, or put the "
        "authority into the image",
    ),
    _rule(
        CauseKind.EXTERNAL,
        r"Max retries exceeded|Temporary failure in name resolution|Name or service not known|couldn't connect to"
        r"|NameResolutionError|ConnectTimeout|ReadTimeout|\b(429|5\d\d) (Client|Server) Error|Too Many Requests"
        r"|Network is unreachable|No route to host|HIP error|hipError[A-Z]|HSA_STATUS_ERROR|Memory access fault by GPU"
        r"|No (HIP|CUDA) GPUs are available|HW Exception by GPU|GPU Hang|(HIP|CU)BLAS_STATUS_|miopenStatus"
        r"|rocblas_status"
        r"|No address associated with hostname|\bgaierror\b|Input/output error|Errno 5\b|Stale file handle|Errno 116\b"
        r"|Transport endpoint is not connected|Errno 107\b|ncclSystemError|unhandled (system|cuda|hip) error"
        r"|ncclUnhandled\w*Error|ncclInternalError|NCCL error: internal error|Failed to infer device type"
        r"|no ROCm-capable device|amdsmi|AmdSmi|uncorrectable",
    ),
    _rule(
        CauseKind.TRANSIENT,
        r"^engine_progress: |RPC call to \w+ timed out",
        "a GPU or a process of the group hangs: compare the logs and the GPUs (amd-smi) of all its pods; where a step "
        "may last as long, raise VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS in vllm.envVars",
    ),
    _rule(
        CauseKind.TRANSIENT,
        r"Timed? ?out|TimeoutError|ncclRemoteError|Gloo connectFullMesh failed|Watchdog caught collective"
        r"|Connection (reset|refused|closed|aborted)|Broken ?pipe"
        r"|DistBackendError|DistNetworkError|DistStoreError|RayActorError|ActorDiedError|NodeDiedError|EOFError",
    ),
    _rule(  # what a program says of its input, whatever it is about
        CauseKind.CONFIGURATION,
        r"NotImplementedError|only supported (for|in|on|with|by)\b|\bNo (supported|valid) |is not installed\b"
        r"|must be (a |an |at |one |set|positive|greater|less|larger|smaller|between|equal)"
        r"|Please (add|decrease|disable|enable|increase|install|lower|pass|provide|reduce|remove|set|specify|update"
        r"|upgrade|use|verify)\b|Try (decreasing|increasing|lowering|reducing|setting)\b",
    ),
)

_CONSEQUENCE = re.compile(
    r"See (the )?(root cause|stack trace)|check the stack trace above|EngineDeadError|EngineCore encountered an issue"
    r"|Engine process failed to start|WorkerProc initialization failed|Executor failed|MQEngineDead|Worker.{0,20} died"
    r"|^(asyncio\.)?(exceptions\.)?CancelledError|^RuntimeError: cancelled|^SystemExit|^KeyboardInterrupt"
    r"|^(ConnectionResetError|BrokenPipeError|EOFError|ChildProcessError)|zmq\.error(?!.{0,40} in use)|closed by peer"
    r"|peer closed"
    r"|remote process exited|leaked (semaphore|shared_memory)"
)
"""Exceptions that only report another one."""
_GENERAL = re.compile(r"nccl\w+Error|NCCL error")
"""Causes of a known kind that say less than any other: RCCL's own words for what it saw stand above them."""

_LINE_LIMIT = 4000
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PREFIXES = re.compile(
    r"^(?:"
    r"\[\d+,\d+\]<std(?:out|err)>: ?"  # mpirun --tag-output
    # (EngineCore_DP0 pid=272), (RayWorkerWrapper pid=1, ip=10.0.0.1)
    r"|\((?:[\w.-]+ )?[\w-]+=[^()\s,=]+(?:(?:, ?| )[\w-]+=[^()\s,=]+)*\) ?"
    r"|\[?\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-][\d:]+)?\]?,? ?"
    r"|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)(?: \d\d-\d\d \d\d:\d\d:\d\d)? (?:\[[^\]\s]+:\d+\] ?)"
    r"|(?:ERROR|CRITICAL):? +(?=\w+(?:\.\w+)*(?:Error|Exception))"
    r"|\[rank\d+\]:? ?"
    r")"
)
_EXCEPTION = re.compile(
    r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Timeout|Expired|Abort|Died)\b(?: ?:(?: |$)|$)"
    r"|^(?:\w+\.)+[A-Z]\w*: |^(?:socket\.)?(?:gaierror|herror): "
)
_SIGN = re.compile(
    r"^[\w./ -]{1,60}: error: |Memory access fault by GPU|HSA_STATUS_ERROR|\bhipError[A-Z]|^\s*what\(\): "
    r"|^engine_progress: |Fatal Python error|\bBus error\b|Segmentation fault|Segfault encountered"
    r"|error while attempting to bind|HW Exception by GPU|TensileLibrary|initialize Tensile host"
    r"|Unable to open /dev/kfd|no socket interface found|pthread_create failed|^  Value error, "
)
"""Causes that no Python exception tells."""
_ANYWHERE = re.compile(r"(?:^|[\s.])\w*(?:Error|Exception|Interrupt|Exit)\b ?:")
_IGNORED = re.compile(r"^Exception ignored in")
_VALIDATION = re.compile(r"validation errors? for")
_BROKEN_OFF = re.compile(r"gated repo\.?$|:$")
"""The point stands on the next line."""
_DETAILS = 6
"""Lines below a first one that may tell it."""


def find_cause(log: str) -> Cause:
    """The cause in the last lines of a log, or in a termination message; Cause("", UNKNOWN) of an empty one."""
    lines = [_bare(line) for line in log.splitlines()]
    told = list(_told(lines))
    judged = [(text, _judge(text)) for text in told if not _CONSEQUENCE.search(text)]
    for wanted in (_telling, _certain, _unknown, _any):
        found = [(text, rule) for text, rule in judged if wanted(text, rule)]
        if found:
            return _cause(*found[-1])
    plain = [line.strip() for line in lines if line.strip()]
    vague = told or [line for line in plain if _ANYWHERE.search(line)] or plain or [""]
    return _cause(vague[-1], None if told else _judge(vague[-1]) if _ANYWHERE.search(vague[-1]) else None)


def _telling(text: str, rule: _Rule | None) -> bool:
    return _certain(text, rule) and not _GENERAL.search(text)


def _certain(_: str, rule: _Rule | None) -> bool:
    return rule is not None and rule.kind is not CauseKind.TRANSIENT


def _unknown(_: str, rule: _Rule | None) -> bool:
    return rule is None


def _any(_: str, __: _Rule | None) -> bool:
    return True


def _cause(text: str, rule: _Rule | None) -> Cause:
    short = " ".join(text.split())[:TEXT_LIMIT]
    return Cause(short, rule.kind, rule.advice) if rule else Cause(short, CauseKind.UNKNOWN)


def _judge(text: str) -> _Rule | None:
    return next((rule for rule in _RULES if rule.pattern.search(text)), None)


def _bare(line: str) -> str:
    """A line without colours and without what loggers and launchers put before it; its indent stays."""
    text = _ANSI.sub("", line[:_LINE_LIMIT]).rstrip()
    while (shorter := _PREFIXES.sub("", text, count=1)) != text:
        text = shorter
    return text


def _told(lines: Sequence[str]) -> Iterator[str]:
    """Every exception and sign, in order, with the line below where that says what is wrong."""
    ignored, told_until = False, -1
    for index, line in enumerate(lines):
        if _IGNORED.search(line):
            ignored = True
        elif _EXCEPTION.search(line):
            if not ignored:
                yield _whole(line, lines[index + 1 : index + 1 + _DETAILS])
            ignored = False
            told_until = index + _DETAILS if _VALIDATION.search(line) else told_until
        elif _SIGN.search(line) and not (index <= told_until and line.startswith("  ")):
            yield line.partition(" [type=")[0].strip()


def _whole(line: str, below: Sequence[str]) -> str:
    """pydantic, transformers and RCCL break the line before the point."""
    if _VALIDATION.search(line):
        details = [it.strip() for it in below if it.startswith("  ") and "further information" not in it]
        return f"{line}: {details[0].partition(' [type=')[0]}" if details else line
    rest = [it.strip() for it in takewhile(lambda it: not it.startswith("Traceback"), below) if it.strip()]
    if line.startswith("nccl"):  # NCCLUtils: "Last error:", and on the next line what it was
        rest = rest[1:] if rest and rest[0] == "Last error:" else []
        return f"{line} Last error: {rest[0]}" if rest else line
    return f"{line} {rest[0]}" if rest and _BROKEN_OFF.search(line) else line
