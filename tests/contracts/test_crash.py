"""The cause of a crash is found among all that vLLM says of it."""

from __future__ import annotations

import time

import pytest

from app.contracts.crash import TEXT_LIMIT, CauseKind, find_cause

KV = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (40.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (11.50 GiB). Try decreasing `max_model_len`."
)
ENGINE = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
WORKER = (
    "Exception: WorkerProc initialization failed due to an exception in a background process. "
    "See stack trace for root cause."
)
OOM = "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 191.98 GiB"
GATED = "OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/a/b."


def logged(process: str, text: str, where: str = "core.py:1344", trace: int = 3) -> str:
    """A traceback as vLLM's logger writes it: each line with the process, the time and the place."""
    lines = ["EngineCore failed to start.", "Traceback (most recent call last):"]
    lines += ['  File "/opt/vllm/x.py", line 12, in start', "    raise problem"] * trace
    return "\n".join(f"({process} pid=272) ERROR 11-29 20:00:01 [{where}] {it}" for it in (*lines, *text.splitlines()))


def printed(process: str, text: str) -> str:
    """A traceback as Python prints it."""
    lines = [
        "Traceback (most recent call last):",
        '  File "/usr/bin/vllm", line 8, in <module>',
        "    sys.exit(main())",
    ]
    return "\n".join(f"({process} pid=1) {it}" for it in (*lines, *text.splitlines()))


def found(log: str) -> tuple[str, str]:
    cause = find_cause(log)
    return cause.text, cause.kind.value


@pytest.mark.parametrize(
    ("log", "text"),
    [
        pytest.param(
            f"(EngineCore pid=272) ERROR 11-29 20:00:01 [core.py:1344] {KV}\n(APIServer pid=1) {ENGINE}",
            KV,
            id="the engine's, above the API server's",
        ),
        pytest.param(
            f"{logged('EngineCore_DP0', KV)}\n{printed('EngineCore_DP0', KV)}\n{printed('APIServer', ENGINE)}",
            KV,
            id="told twice by the engine",
        ),
        pytest.param(
            "\n".join(
                [
                    logged("Worker_TP3", OOM, "multiproc_executor.py:700"),
                    logged("Worker_TP1", "RuntimeError: cancelled", "multiproc_executor.py:700"),
                    logged("EngineCore", WORKER),
                    printed("APIServer", ENGINE),
                ]
            ),
            OOM,
            id="a worker's, above the engine's",
        ),
        pytest.param(
            f"\x1b[0;36m(Worker_TP0 pid=9)\x1b[0;0m \x1b[31mERROR 11-29 20:00:01 [gpu.py:1] {OOM}\x1b[0m\n{ENGINE}",
            OOM,
            id="coloured",
        ),
        pytest.param(f"(RayWorkerWrapper pid=281, ip=10.1.2.3) {OOM}\n{ENGINE}", OOM, id="a worker's of Ray"),
        pytest.param(f"[1,1]<stderr>:(Worker pid=3) {OOM}\n[1,0]<stderr>:{ENGINE}", OOM, id="by mpirun"),
        pytest.param(
            f"ERROR 05-23 09:31:47 [core.py:396] {KV}\nProcess EngineCore_0:\n{ENGINE}", KV, id="an old format"
        ),
        pytest.param(f"2026-11-29T20:00:01.5Z {KV}\n2026-11-29T20:00:02Z {ENGINE}", KV, id="with the runtime's times"),
        pytest.param(f"[rank0]: {OOM}\n{ENGINE}", OOM, id="torch's rank in front"),
        pytest.param(f"{KV}\nExceptionGroup\nConnectionResetError: [Errno 104]\n{ENGINE}", KV, id="a lost connection"),
        pytest.param(
            f"{OOM}\nException ignored in: <function f>\nTraceback (most recent call last):\n"
            "TypeError: 'NoneType' object is not callable\n" + ENGINE,
            OOM,
            id="an exception that Python ignores",
        ),
        pytest.param("KeyError: 'layers.0.mlp'\n" + ENGINE, "KeyError: 'layers.0.mlp'", id="a cause of no known kind"),
        pytest.param(ENGINE, ENGINE, id="no cause at all"),
        pytest.param("loading\nall done\n\n", "all done", id="no exception"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_root_cause_is_told(log: str, text: str) -> None:
    assert find_cause(log).text == text


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (KV, CauseKind.GPU_MEMORY),
        (OOM, CauseKind.GPU_MEMORY),
        ("torch.AcceleratorError: HIP error: out of memory", CauseKind.GPU_MEMORY),
        ("ValueError: No available memory for the cache blocks. Try increasing it", CauseKind.GPU_MEMORY),
        (
            "ValueError: The model's max seq len (8192) is larger than the maximum number of tokens that can be stored "
            "in KV cache (2400).",
            CauseKind.GPU_MEMORY,
        ),
        (
            "ValueError: Free memory on device cuda:0 (3.1/191.98 GiB) on startup is less than desired GPU memory "
            "utilization (0.92, 176.6 GiB).",
            CauseKind.GPU_MEMORY,
        ),
        ("OSError: [Errno 28] No space left on device", CauseKind.RESOURCE),
        ("RuntimeError: unable to open shared memory object </torch_1> in read-write mode", CauseKind.RESOURCE),
        ("vllm serve: error: unrecognized arguments: --enable-metrics --swap-space=4", CauseKind.CONFIGURATION),
        ("vllm: error: argument --dtype: invalid choice: 'int8' (choose from 'auto')", CauseKind.CONFIGURATION),
        ("ValueError: Model architectures ['MyModel'] are not supported for now.", CauseKind.CONFIGURATION),
        ("ValueError: MyModel has no vLLM implementation and the Transformers one", CauseKind.CONFIGURATION),
        ("OSError: [Errno 98] Address already in use", CauseKind.CONFIGURATION),
        (
            "torch.distributed.DistNetworkError: The server socket has failed to bind to [::]:29501 (errno: 98 - "
            "Address already in use).",
            CauseKind.CONFIGURATION,
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/x/adapter_config.json'", CauseKind.CONFIGURATION),
        (
            "OSError: /model-store/x does not appear to have a file named config.json. Checkout 'https://huggingface.co'",
            CauseKind.CONFIGURATION,
        ),
        ("RuntimeError: Cannot find any model weights with `/model-store/x`", CauseKind.CONFIGURATION),
        ("OSError: Can't load tokenizer for 'x'. If you were trying to load it", CauseKind.CONFIGURATION),
        ("ValueError: Couldn't instantiate the backend tokenizer from one of:", CauseKind.CONFIGURATION),
        ("ValueError: gguf quantization is currently not supported in rocm.", CauseKind.CONFIGURATION),
        (
            "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8).",
            CauseKind.CONFIGURATION,
        ),
        (
            "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1)",
            CauseKind.CONFIGURATION,
        ),
        (
            "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. Repository Not Found",
            CauseKind.CONFIGURATION,
        ),
        (
            "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach https://hub/x: offline mode is enabled.",
            CauseKind.CONFIGURATION,
        ),
        ("safetensors.SafetensorError: Error while deserializing header: HeaderTooLarge", CauseKind.CONFIGURATION),
        ("ModuleNotFoundError: No module named 'ray'", CauseKind.CONFIGURATION),
        ("torch.AcceleratorError: HIP error: invalid device function", CauseKind.CONFIGURATION),
        (
            "hipErrorNoBinaryForGpu: Unable to find code object for all current devices!",
            CauseKind.CONFIGURATION,
        ),
        ("torch.AcceleratorError: HIP error: an illegal memory access was encountered", CauseKind.EXTERNAL),
        (
            "Memory access fault by GPU node-2 (Agent handle: 0x55) on address 0x7f. Reason: Unknown.",
            CauseKind.EXTERNAL,
        ),
        ("RuntimeError: No HIP GPUs are available", CauseKind.EXTERNAL),
        ("RuntimeError: Failed to infer device type", CauseKind.EXTERNAL),
        (
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
            CauseKind.EXTERNAL,
        ),
        (
            "requests.exceptions.SSLError: HTTPSConnectionPool(host='hub'): [SSL: CERTIFICATE_VERIFY_FAILED]",
            CauseKind.EXTERNAL,
        ),
        ("TimeoutError: Timed out waiting for engine core processes to start.", CauseKind.TRANSIENT),
        ("torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients.", CauseKind.TRANSIENT),
        ("RuntimeError: Error in memory profiling. Initial free memory 170.3 GiB", CauseKind.GPU_MEMORY),
        ("RuntimeError: CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate`", CauseKind.GPU_MEMORY),
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.", CauseKind.RESOURCE),
        ("RuntimeError: can't start new thread", CauseKind.RESOURCE),
        ("OpenBLAS blas_thread_init: pthread_create failed for thread 63 of 64", CauseKind.RESOURCE),
        ("ValueError: The number of required GPUs exceeds the total number of available GPUs", CauseKind.CONFIGURATION),
        (
            "ValueError: Chunked MM input disabled but max_tokens_per_mm_item (16384) is larger than "
            "max_num_batched_tokens (2048). Please increase max_num_batched_tokens.",
            CauseKind.CONFIGURATION,
        ),
        ("NotImplementedError: Speculative decoding with pipeline parallelism", CauseKind.CONFIGURATION),
        ("AssertionError: 28 is not divisible by 8", CauseKind.CONFIGURATION),
        ("AssertionError: Expert parallelism is only supported for MoE models", CauseKind.CONFIGURATION),
        ("ValueError: The input size is not aligned with the quantized weight shape.", CauseKind.CONFIGURATION),
        ("RuntimeError: Failed to find mxfp4 backend", CauseKind.CONFIGURATION),
        ("ValueError: No supported config format found in /model-store/x.", CauseKind.CONFIGURATION),
        (
            "ValueError: Error parsing line b'version https://git-lfs.github.com/spec/v1' in /m/qwen.tiktoken",
            CauseKind.CONFIGURATION,
        ),
        ("RuntimeError: PytorchStreamReader failed reading zip archive", CauseKind.CONFIGURATION),
        ("KeyError: 'getpwuid(): uid not found: 1000'", CauseKind.CONFIGURATION),
        ("AttributeError: '_OpNamespace' '_C' object has no attribute 'rms_norm'", CauseKind.CONFIGURATION),
        ("rocBLAS error: Cannot read /opt/TensileLibrary.dat for GPU arch : gfx1103", CauseKind.CONFIGURATION),
        ("zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.1:29550')", CauseKind.CONFIGURATION),
        ("OSError: [Errno 99] Cannot assign requested address", CauseKind.CONFIGURATION),
        (
            "RuntimeError: [enforce fail at device.cc:84] ifa != nullptr. Unable to find address for: eth1",
            CauseKind.CONFIGURATION,
        ),
        ("RuntimeError: No CUDA GPUs are available", CauseKind.EXTERNAL),
        ("Unable to open /dev/kfd read-write: Permission denied", CauseKind.EXTERNAL),
        ("HW Exception by GPU node-3 (Agent handle: 0x2f) reason :GPU Hang", CauseKind.EXTERNAL),
        ("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO)", CauseKind.EXTERNAL),
        ("OSError: [Errno 5] Input/output error: '/model-store/x'", CauseKind.EXTERNAL),
        ("OSError: [Errno 116] Stale file handle: '/model-store/x'", CauseKind.EXTERNAL),
        ("socket.gaierror: [Errno -5] No address associated with hostname", CauseKind.EXTERNAL),
        (
            "requests.exceptions.ProxyError: Unable to connect to proxy, Tunnel connection failed: 403 Forbidden",
            CauseKind.EXTERNAL,
        ),
        ("RuntimeError: Data processing error: CAS service error : 403 Forbidden", CauseKind.EXTERNAL),
        ("RuntimeError: Gloo connectFullMesh failed with [pair.cc:144] no error", CauseKind.TRANSIENT),
        ("TimeoutError: RPC call timed out. Please increase the limit", CauseKind.TRANSIENT),
        ("TimeoutError: RPC call to execute_model timed out.", CauseKind.TRANSIENT),
        ("engine_progress: 3 requests run, and no step has ended for 600 s", CauseKind.TRANSIENT),
        ("AssertionError", CauseKind.UNKNOWN),
        ("KeyError: 'x'", CauseKind.UNKNOWN),
    ],
)
def test_a_cause_has_a_kind(line: str, kind: CauseKind) -> None:
    log = f"{logged('EngineCore', line)}\n{printed('APIServer', ENGINE)}"
    assert found(log) == (line, kind)
    assert found(line) == (line, kind)


def test_what_pydantic_says_below_its_first_line_is_told() -> None:
    log = printed(
        "APIServer",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, User-specified max_model_len (999) is greater than the derived max_model_len "
        "[type=value_error, input_value=ArgsKwargs((), {})]\n    For further information visit https://errors.pydantic.dev/2/v/value_error",
    )
    assert found(log) == (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig: Value error, User-specified "
        "max_model_len (999) is greater than the derived max_model_len",
        "configuration",
    )


def test_a_first_line_that_is_cut_off_is_not_missed() -> None:
    log = "  Value error, World size (8) is larger than the number of available GPUs (4). [type=value_error]\n" + ENGINE
    assert found(log) == (
        "Value error, World size (8) is larger than the number of available GPUs (4).",
        "configuration",
    )


@pytest.mark.parametrize(
    ("lines", "text", "kind"),
    [
        pytest.param(
            ["torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:328, unhandled system error",
             "ncclSystemError: System call or external library call failed.", "Last error:",
             "Error while creating shared memory segment /dev/shm/nccl-YM (size 33030528)"],
            "ncclSystemError: System call or external library call failed. Last error: Error while creating shared "
            "memory segment /dev/shm/nccl-YM (size 33030528)",
            "resource", id="of RCCL",
        ),
        pytest.param(
            ["torch.distributed.DistBackendError: NCCL error in: x.cpp:94, remote process exited",
             "ncclRemoteError: A call failed possibly due to a network error.", "Last error:",
             "socketPollConnect: connect returned Connection refused"],
            "ncclRemoteError: A call failed possibly due to a network error. Last error: socketPollConnect: connect "
            "returned Connection refused",
            "transient", id="of RCCL's peer",
        ),
        pytest.param(
            ["ImportError: ", "LlamaTokenizer requires the protobuf library but it was not found."],
            "ImportError: LlamaTokenizer requires the protobuf library but it was not found.",
            "configuration", id="of transformers",
        ),
        pytest.param(
            ["amdsmi.AmdSmiLibraryException: Error code:", "\t34 | AMDSMI_STATUS_NOT_INIT"],
            "amdsmi.AmdSmiLibraryException: Error code: 34 | AMDSMI_STATUS_NOT_INIT",
            "external", id="of amdsmi",
        ),
    ],
)  # fmt: skip
def test_a_point_on_a_later_line_is_told(lines: list[str], text: str, kind: str) -> None:
    assert found(logged("EngineCore", "\n".join(lines)) + "\n" + ENGINE) == (text, kind)


def test_what_rccl_warned_of_goes_before_its_own_general_error() -> None:
    warned = "host:1:2 [0] misc/socket.cc:484 NCCL WARN Bootstrap : no socket interface found"
    log = f"{warned}\n{logged('EngineCore', 'RuntimeError: NCCL error: internal error')}\n{ENGINE}"
    assert found(log) == (warned, "configuration")
    assert "NCCL_SOCKET_IFNAME" in find_cause(log).advice


def test_weights_that_the_cache_left_out_are_explained() -> None:
    cause = find_cause("RuntimeError: Cannot find any model weights with `/model-store/x`")
    assert "consolidated*.safetensors" in cause.advice


def test_a_chain_is_told_by_its_end() -> None:
    log = (
        "huggingface_hub.errors.GatedRepoError: 401 Client Error.\n\nThe above exception was the direct cause of the "
        f"following exception:\n\nTraceback (most recent call last):\n{GATED}"
    )
    cause = find_cause(f"{log}\n{ENGINE}")
    assert cause.text == GATED.replace("\n", " ")
    assert "a Secret with a token" in cause.advice


def test_remote_code_that_is_not_trusted_says_which_argument_trusts_it() -> None:
    line = "ValueError: The repository x contains custom code which must be executed to correctly load the model."
    assert "vllm.engineArgs.trust_remote_code" in find_cause(line).advice


@pytest.mark.parametrize(
    "line",
    [
        "TimeoutError: RPC call to sample_tokens timed out.",
        "engine_progress: 1 request runs, and no step has ended for 150 s (the readiness probe failed)",
    ],
)
def test_a_hang_says_where_to_look_and_which_limit_it_is(line: str) -> None:
    advice = find_cause(line).advice
    assert "all its pods" in advice
    assert "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS" in advice


@pytest.mark.parametrize(
    "text",
    ["(a=" + "a=b" * 30_000, "(a " * 30_000, "[rank0]: " * 20_000, "x." * 60_000, "ERROR " * 30_000, "\x1b[" * 60_000],
)
def test_hostile_text_costs_little(text: str) -> None:
    start = time.thread_time()
    cause = find_cause(text)
    assert time.thread_time() - start < 1
    assert len(cause.text) <= TEXT_LIMIT
