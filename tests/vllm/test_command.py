"""The command line of `vllm serve`: precedence, names, values, and what is refused."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fit.parallelism import Parallelism
from app.vllm.command import CommandLine, EngineSpec, Precision, Severity, build_command_line
from app.vllm.owned import ARGUMENTS
from app.vllm.table import engine_arguments, environment_names


def build(engine_args: dict[str, Any] | None = None, **fields: Any) -> CommandLine:
    return build_command_line(EngineSpec("org/model", "model", engine_args=engine_args or {}, **fields))


def flags(line: CommandLine) -> list[str]:
    """All arguments but those that stand in every command line."""
    fixed = ("--model=", "--served-model-name=", "--port=", "--shutdown-timeout=")
    return [token for token in line.arguments if not token.startswith(fixed)]


def errors(line: CommandLine) -> list[str]:
    return [f"{it.path}: {it.message}" for it in line.findings if it.severity is Severity.ERROR]


def warnings(line: CommandLine) -> list[str]:
    return [f"{it.path}: {it.message}" for it in line.findings if it.severity is Severity.WARNING]


def test_a_plain_model_needs_four_arguments() -> None:
    assert build(port=8000, drain_seconds=60).arguments == (
        "--model=org/model",
        "--served-model-name=model",
        "--port=8000",
        "--shutdown-timeout=60",
    )


@pytest.mark.parametrize(
    ("precision", "flag"),
    [
        (Precision.FP16, ["--dtype=float16"]),
        (Precision.BF16, ["--dtype=bfloat16"]),
        (Precision.FP32, ["--dtype=float32"]),
        (Precision.FP8, ["--quantization=fp8"]),
        (Precision.INT8, []),
        (Precision.INT4, []),
    ],
)
def test_a_precision_becomes_what_vllm_calls_it(precision: Precision, flag: list[str]) -> None:
    assert flags(build(precision=precision)) == flag


def test_a_checkpoint_that_is_quantised_already_is_served_as_it_is() -> None:
    """vLLM finds the method there (fp8 of quark or compressed-tensors), and refuses another name for it."""
    same, other = (build(precision=Precision.FP8, stored=stored) for stored in ("fp8", "mxfp4"))
    assert flags(same) == flags(other) == []
    assert warnings(same) == []
    assert "is quantised to mxfp4 already" in warnings(other)[0]
    assert flags(build({"quantization": "quark"}, precision=Precision.FP8, stored="fp8")) == ["--quantization=quark"]
    assert flags(build(precision=Precision.FP16, stored="fp8")) == ["--dtype=float16"]


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_an_integer_precision_warns_unless_the_method_is_named(precision: Precision) -> None:
    assert "must be quantised already" in warnings(build(precision=precision))[0]
    assert warnings(build({"quantization": "awq"}, precision=precision)) == []


def test_sizes_come_from_the_plan_and_one_is_left_out() -> None:
    line = build(parallelism=Parallelism(tensor=4, pipeline=1, data=2))
    assert flags(line) == ["--tensor-parallel-size=4", "--data-parallel-size=2"]


def test_the_users_sizes_are_taken_in_by_the_plan_and_not_repeated() -> None:
    line = build({"tensor_parallel_size": 4, "pipeline-parallel-size": 1}, parallelism=Parallelism(tensor=4))
    assert flags(line) == ["--tensor-parallel-size=4"]


def test_several_nodes_talk_natively_unless_ray_is_asked_for() -> None:
    assert flags(build(nodes=2)) == ["--distributed-executor-backend=mp"]
    assert flags(build({"distributed_executor_backend": "ray"}, nodes=2)) == ["--distributed-executor-backend=ray"]


def test_another_backend_is_refused() -> None:
    assert "takes mp or ray here" in errors(build({"distributed_executor_backend": "external_launcher"}))[0]


def test_ray_starts_the_copies_of_a_group_only_where_it_starts_the_group() -> None:
    copies = {"data_parallel_backend": "ray"}
    assert "data_parallel_backend: takes mp in a group" in errors(build(copies, nodes=2))[0]
    assert errors(build(copies)) == errors(build({"data_parallel_backend": "mp"}, nodes=2)) == []
    assert errors(build(copies | {"distributed_executor_backend": "ray"}, nodes=2)) == []


@pytest.mark.parametrize(
    ("engine_args", "fields", "expected"),
    [
        pytest.param({"max_model_len": 8192}, {"max_tokens": 4096}, ["--max-model-len=8192"], id="length"),
        pytest.param({"dtype": "auto"}, {"precision": Precision.FP16}, ["--dtype=auto"], id="type"),
        pytest.param({}, {"max_tokens": 4096}, ["--max-model-len=4096"], id="simple alone"),
        pytest.param({"max_model_len": None}, {"max_tokens": 4096}, ["--max-model-len=4096"], id="null is not set"),
    ],
)
def test_the_advanced_value_replaces_the_simple_one(
    engine_args: dict[str, Any], fields: dict[str, Any], expected: list[str]
) -> None:
    assert flags(build(engine_args, **fields)) == expected


def test_a_temperature_of_zero_is_a_temperature() -> None:
    assert flags(build(temperature=0.0)) == ['--override-generation-config={"temperature":0.0}']


@pytest.mark.parametrize("own", [{"top_p": 0.9}, '{"top_p": 0.9}'])
def test_the_temperature_stays_under_the_users_own_sampling_defaults(own: Any) -> None:
    line = build({"override_generation_config": own}, temperature=0.7)
    assert flags(line) == ['--override-generation-config={"temperature":0.7,"top_p":0.9}']


def test_the_users_own_temperature_wins() -> None:
    line = build({"override_generation_config": {"temperature": 0.1}}, temperature=0.7)
    assert flags(line) == ['--override-generation-config={"temperature":0.1}']


def test_the_temperature_stays_beside_single_keys_of_the_users_sampling_defaults() -> None:
    line = build({"override_generation_config.top_p": 0.9}, temperature=0.7)
    assert flags(line) == ["--override-generation-config.temperature=0.7", "--override-generation-config.top_p=0.9"]
    own = build({"override-generation-config.temperature": 0.1}, temperature=0.7)
    assert flags(own) == ["--override-generation-config.temperature=0.1"]


@pytest.mark.parametrize(
    ("engine_args", "expected"),
    [
        pytest.param({"enable_chunked_prefill": True}, ["--enable-chunked-prefill"], id="switched on"),
        pytest.param({"trust_remote_code": False}, ["--no-trust-remote-code"], id="switched off"),
        pytest.param({"trust_remote_code": "true"}, ["--trust-remote-code"], id="a switch in words"),
        pytest.param({"disable_log_requests": True}, ["--disable-log-requests"], id="a negative form"),
        pytest.param({"disable_log_stats": False}, [], id="a flag without negative form"),
        pytest.param({"max-num-seqs": 64}, ["--max-num-seqs=64"], id="dashes"),
        pytest.param({"--max-num-seqs": 64}, ["--max-num-seqs=64"], id="dashes in front"),
        pytest.param({"device_memory_utilization": 0.8}, ["--gpu-memory-utilization=0.8"], id="an alias"),
        pytest.param({"max_model_len": "32k"}, ["--max-model-len=32k"], id="a length in thousands"),
        pytest.param({"max_model_len": "auto"}, ["--max-model-len=auto"], id="an automatic length"),
        pytest.param({"max_num_seqs": 64.0}, ["--max-num-seqs=64"], id="a whole float"),
        pytest.param(
            {"compilation_config": {"mode": 3, "level": 1}}, ['--compilation-config={"level":1,"mode":3}'], id="JSON"
        ),
        pytest.param({"compilation_config": '{"mode": 3}'}, ['--compilation-config={"mode":3}'], id="JSON as text"),
        pytest.param({"compilation_config.mode": 3}, ["--compilation-config.mode=3"], id="one key of JSON"),
        pytest.param(
            {"compilation_config.pass_config.fuse_norm_quant": True, "max_num_seqs": 64},
            ["--compilation-config.pass_config.fuse_norm_quant=true", "--max-num-seqs=64"],
            id="a key of JSON that is a switch",
        ),
        pytest.param(
            {"cc.use_x": False}, ["--compilation-config.use_x=false"], id="a key of JSON that is switched off"
        ),
        pytest.param({"allowed_origins": ["a"]}, ['--allowed-origins=["a"]'], id="a list in JSON"),
        pytest.param({"pt_load_map_location": "cpu"}, ["--pt-load-map-location=cpu"], id="a text for JSON"),
        pytest.param({"ignore_patterns": ["a", "b"]}, ["--ignore-patterns", "a", "b"], id="several values"),
        pytest.param({"ignore_patterns": '["a", "b"]'}, ["--ignore-patterns", "a", "b"], id="several values as JSON"),
        pytest.param({"cudagraph_capture_sizes": [1, "2"]}, ["--cudagraph-capture-sizes", "1", "2"], id="numbers"),
        pytest.param({"middleware": ["a.b", "c.d"]}, ["--middleware=a.b", "--middleware=c.d"], id="a flag for each"),
        pytest.param({"tool_server": ["a:1", "b:2"]}, ["--tool-server=a:1,b:2"], id="one text of several"),
        pytest.param(
            {"lora_modules": [{"name": "sql", "path": "/x/sql"}, {"path": "/y", "name": "b", "base_model_name": "m"}]},
            [
                "--lora-modules",
                '{"name":"sql","path":"/x/sql"}',
                '{"base_model_name":"m","name":"b","path":"/y"}',
            ],
            id="adapters as objects",
        ),
        pytest.param({"lora_modules": "sql=/x/sql"}, ["--lora-modules", "sql=/x/sql"], id="an adapter as text"),
        pytest.param(
            {"lora_modules": '{"name": "sql", "path": "/x"}'},
            ["--lora-modules", '{"name":"sql","path":"/x"}'],
            id="an adapter as the text of an object",
        ),
        pytest.param(
            {"lora_modules": '[{"name": "sql", "path": "/x"}, "b=/y"]'},
            ["--lora-modules", '{"name":"sql","path":"/x"}', "b=/y"],
            id="adapters as the text of a list",
        ),
        pytest.param(
            {"lora_modules": {"b": "/y", "a": "/x"}},
            [
                "--lora-modules",
                '{"name":"a","path":"/x"}',
                '{"name":"b","path":"/y"}',
            ],
            id="adapters as a mapping",
        ),
        pytest.param(
            {"lora_modules": ["sql=/x,y", "b=/y=z"]},
            ["--lora-modules", '{"name":"sql","path":"/x,y"}', '{"name":"b","path":"/y=z"}'],
            id="adapters at paths that vLLM would split",
        ),
        pytest.param(
            {"limit_mm_per_prompt": {"image": {"count": 2, "width": 512}}},
            ['--limit-mm-per-prompt={"image":{"count":2,"width":512}}'],
            id="an object in an object",
        ),
        pytest.param(
            {"compilation_config.cudagraph_capture_sizes": [1, 2]},
            ["--compilation-config.cudagraph_capture_sizes=[1,2]"],
            id="a key of JSON that is a list",
        ),
        pytest.param({"brand_new": [{"a": 1}]}, ['--brand-new=[{"a":1}]'], id="a list for an unknown argument"),
    ],
)
def test_a_value_becomes_what_the_parser_takes(engine_args: dict[str, Any], expected: list[str]) -> None:
    line = build(engine_args)
    assert errors(line) == []
    assert flags(line) == expected


@pytest.mark.parametrize(
    ("engine_args", "words"),
    [
        pytest.param({"max_num_seqs": "many"}, 'takes a whole number, not "many"', id="no number"),
        pytest.param({"max_num_seqs": "9" * 310}, "takes a whole number of at most 15 digits", id="a very long number"),
        pytest.param({"max_model_len": "9" * 5000}, "takes a whole number of at most 15 digits", id="a very long size"),
        pytest.param({"max_num_seqs": 1e308}, "takes a whole number, not 1e+308", id="a huge float"),
        pytest.param({"max_num_seqs": True}, "takes a whole number, not true", id="a switch for a number"),
        pytest.param({"gpu_memory_utilization": "high"}, "takes a number", id="no fraction"),
        pytest.param({"gpu_memory_utilization": 1.5}, "takes a share above 0 and up to 1, not 1.5", id="over all"),
        pytest.param({"gpu_memory_utilization": 0}, "takes a share above 0 and up to 1, not 0", id="nothing"),
        pytest.param({"max_model_len": 0}, "takes at least 1, not 0", id="no length"),
        pytest.param({"enable_chunked_prefill": 1}, "takes true or false, not 1", id="a number for a switch"),
        pytest.param({"dtype": "int8"}, "takes one of auto, bfloat16, float, float16", id="no such choice"),
        pytest.param({"max_model_len": "long"}, 'takes a whole number or a text such as "32k"', id="no length"),
        pytest.param({"compilation_config": "{mode"}, "takes an object or its JSON text", id="no JSON"),
        pytest.param({"compilation_config": True}, "takes an object or its JSON text, not true", id="no object"),
        pytest.param({"speculative_config": 3}, "takes an object or its JSON text, not 3", id="a number for an object"),
        pytest.param({"kv_transfer_config": "[1]"}, "takes an object or its JSON text", id="a list for an object"),
        pytest.param({"hf_overrides": "null"}, "takes an object or its JSON text", id="nothing for an object"),
        pytest.param({"allowed_origins": "*"}, "takes a list or its JSON text", id="a text for a list"),
        pytest.param(
            {"compilation_config": {"mode": 3}, "cc.level": 1},
            "cc.level: is a key of compilation_config, which stands here too",
            id="a whole argument and a key of it",
        ),
        pytest.param({"ignore_patterns": []}, "takes at least one value", id="an empty list"),
        pytest.param({"middleware": []}, "takes at least one value", id="an empty list of repeated flags"),
        pytest.param({"lora_modules": [{"name": "sql"}]}, "has no path", id="an adapter without a path"),
        pytest.param({"lora_modules": ["sql"]}, "takes name=path, or an object", id="a name alone"),
        pytest.param({"lora_modules": [3]}, "takes objects with name and path", id="no adapter"),
        pytest.param(
            {"lora_modules": [{"name": "a", "path": "/x", "base_model": "b"}]},
            "did you mean base_model_name?",
            id="an adapter with a field that vLLM does not know",
        ),
        pytest.param({"ignore_patterns": ["--x"]}, "do not start with '-'", id="a flag among values"),
        pytest.param({"tokenizer": {"a": 1}}, "takes a single value", id="an object for a text"),
        pytest.param({"dtype.x": 1}, "has no keys", id="a key of what is no JSON"),
        pytest.param({"max_num_seqs": 1, "max-num-seqs": 2}, "is the same argument as", id="two spellings"),
        pytest.param({"tp": 2}, "must be written tensor_parallel_size", id="a short name of a size"),
        pytest.param({"pcp": 2}, "must be written prefill_context_parallel_size", id="a short name of another size"),
        pytest.param({"a b": 1}, "is no argument name", id="no name"),
        pytest.param({"quantization": "gptq_marlin"}, "does not run on AMD GPUs", id="a method ROCm lacks"),
        pytest.param({"quantization": "bitsandbytes"}, "does not run on AMD GPUs", id="a method that left vLLM"),
    ],
)
def test_what_vllm_would_refuse_is_an_error(engine_args: dict[str, Any], words: str) -> None:
    assert words in "; ".join(errors(build(engine_args)))


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_what_the_operator_sets_is_refused(name: str) -> None:
    line = build({name: "x"})
    assert "cannot be set here: " in errors(line)[0]
    assert "=x" not in "".join(flags(line))


@pytest.mark.parametrize("key", ["-tp", "ssl_keyfile", "ssl-certfile", "node-rank", "-r", "--nnodes", "n"])
def test_other_spellings_of_owned_arguments_are_refused_too(key: str) -> None:
    assert errors(build({key: 1}))


@pytest.mark.parametrize(
    ("key", "whole"),
    [
        ("api_ke", "api_key"), ("hea", "headless"), ("por", "port"), ("--ho", "host"), ("no_hea", "headless"),
        ("uvi_", ""), ("serv", "served_model_name"), ("ssl", "ssl_ca_certs"), ("no-data-parallel-hyb", ""),
        ("disable_ssl", "enable_ssl_refresh"), ("api-ke.x", "api_key"), ("conf", "config"), ("HO", "host"),
        ("tensor-par", "tensor_parallel_size"), ("max_model", "max_model_len"), ("trust", "trust_remote_code"),
        ("device_mem", "gpu_memory_utilization"), ("no", "model"), ("m", "model"), ("quantiz", "quantization"),
        ("middle", "middleware"), ("dist", "distributed_executor_backend"),
    ],
)  # fmt: skip
def test_a_beginning_that_the_parser_takes_for_an_argument_of_the_operator_is_refused(key: str, whole: str) -> None:
    line = build({key: "x"})
    if key == "uvi_":
        assert not errors(line)
    else:
        assert f"is taken by vLLM for {whole}" in errors(line)[0]
        assert flags(line) == []


@given(
    st.sampled_from(sorted(ARGUMENTS)),
    st.integers(1, 40),
    st.sampled_from(["", "no_", "--", "-", "no-"]),
    st.booleans(),
)
def test_no_beginning_of_an_owned_name_reaches_vllm(name: str, length: int, before: str, keyed: bool) -> None:
    key = before + name[:length] + (".x" if keyed else "")
    line = build({key: "x"})
    if not errors(line):  # a whole name of an argument that users may give
        head = key.lstrip("-").replace("-", "_").partition(".")[0].removeprefix("no_")
        table = engine_arguments()
        assert head in table.arguments or head in table.aliases


@pytest.mark.parametrize("key", ["host.x", "API_KEY", "Port", "temperature.x", "model_tag.x"])
def test_owned_arguments_are_refused_in_any_case_and_with_keys(key: str) -> None:
    assert "cannot be set here" in errors(build({key: 1}))[0]


def test_the_short_name_of_the_optimisation_level_is_known() -> None:
    assert flags(build({"-O": 3})) == ["--optimization-level=3"]


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH", "PYTHONPATH", "PYTHONSTARTUP",
        "PYTHONHOME", "PYTHONWARNINGS", "PYTHONBREAKPOINT", "_PYTHON_SYSCONFIGDATA_NAME", "PATH", "BASH_ENV", "ENV",
        "SHELLOPTS", "PS4", "IFS", "HOME", "PERL5OPT", "PERL5LIB", "RUBYOPT", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS",
        "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL", "LESSOPEN", "PAGER", "SSH_ASKPASS", "OPENSSL_CONF", "OPENSSL_MODULES",
        "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_CACHE_MANAGER", "AITER_JIT_DIR",
        "TRITON_HIP_LLD_PATH", "HF_MODULES_CACHE", "NUMBA_CACHE_DIR", "VLLM_CACHE_ROOT", "XDG_CACHE_HOME", "CC", "CXX",
        "HIPCC_COMPILE_FLAGS_APPEND", "HIP_CLANG_PATH", "ROCM_PATH", "HSA_TOOLS_LIB", "ROCP_TOOL_LIB",
        "ROCPROFILER_REGISTER_FORCE_LOAD", "OMP_TOOL_LIBRARIES", "OCL_ICD_VENDORS", "NCCL_NET_PLUGIN",
        "NCCL_TUNER_PLUGIN", "NCCL_PROFILER_PLUGIN", "RCCL_NET_PLUGIN", "NCCL_CONF_FILE", "UCX_MODULE_DIR",
        "FI_PROVIDER_PATH", "OMPI_MCA_plm_rsh_agent", "PMIX_MCA_mca_base_component_path", "PRTE_MCA_plm", "OPAL_PREFIX",
        "RAY_RUNTIME_ENV_PLUGINS", "RAY_ADDRESS", "VLLM_LOGGING_CONFIG_PATH", "VLLM_NCCL_SO_PATH",
        "VLLM_CUDART_SO_PATH", "VLLM_RUST_FRONTEND_PATH", "VLLM_ALLOW_INSECURE_SERIALIZATION", "VLLM_SERVER_DEV_MODE",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "MIOPEN_CUSTOM_CACHE_DIR", "HIPBLASLT_TENSILE_LIBPATH",
        "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE", "TRITON_HOME", "TMPDIR", "CK_DIR", "AITER_ROOT_DIR", "TVM_HOME",
        "FLASHINFER_WORKSPACE_BASE", "RAY_preload_python_modules", "RAY_worker_process_setup_hook",
        "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_OVERRIDE_JOB_RUNTIME_ENV", "AWS_CONFIG_FILE", "KUBECONFIG",
        "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "MPLBACKEND", "PYTEST_PLUGINS", "IPYTHONDIR", "LOCAL_KERNELS",
        "KERNELS_CACHE", "OUTLINES_CACHE_DIR", "LIBROSA_CACHE_DIR", "HWLOC_PLUGINS_PATH", "UCX_CONFIG_DIR",
        "NCCL_CUDA_PATH", "LTDL_LIBRARY_PATH", "HDF5_PLUGIN_PATH", "NVSHMEM_BOOTSTRAP_PLUGIN", "IMAGEIO_FFMPEG_EXE",
        "LMCACHE_RUNTIME_PLUGIN_LOCATIONS", "MY_LIBRARY_PATH", "ld_preload", "PythonPath", "bash_env",
    ],
)  # fmt: skip
def test_a_variable_that_turns_data_into_code_is_refused(name: str) -> None:
    line = build(env={name: "1"})
    assert "INFERENCE_ALLOWED_VARIABLES" in errors(line)[0]
    assert line.environment == ()
    assert build(env={name: "1"}, allowed_variables=(name,)).environment == ((name, "1"),)
    assert build(env={name: "1"}, allowed_variables=(f"{name[:3]}*",)).environment == ((name, "1"),)


@pytest.mark.parametrize(
    "name",
    [
        "NCCL_DEBUG", "NCCL_MIN_NCHANNELS", "NCCL_IB_HCA", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "HF_ENDPOINT",
        "RCCL_MSCCL_ENABLE", "RCCL_MSCCLPP_ENABLE", "HSA_NO_SCRATCH_RECLAIM", "HSA_ENABLE_IPC_MODE_LEGACY",
        "HIP_FORCE_DEV_KERNARG", "GPU_ARCHS", "TORCH_BLAS_PREFER_HIPBLASLT", "PYTORCH_TUNABLEOP_ENABLED", "HF_HOME",
        "PYTORCH_TUNABLEOP_TUNING", "PYTORCH_HIP_ALLOC_CONF", "VLLM_ROCM_USE_AITER", "VLLM_USE_AITER_TRITON_ROPE",
        "VLLM_ROCM_QUICK_REDUCE_QUANTIZATION", "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "VLLM_DO_NOT_TRACK", "VLLM_PLUGINS",
        "SAFETENSORS_FAST_GPU", "TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS", "UCX_TLS", "UCX_RMA_PPLN_ENABLE",
        "TORCHDYNAMO_DISABLE", "AMD_LOG_LEVEL", "AMD_SERIALIZE_KERNEL", "MIOPEN_FIND_MODE", "HTTPS_PROXY", "NO_PROXY",
        "VLLM_CPU_KVCACHE_SPACE", "RAY_DEDUP_LOGS", "NODE_NAME", "TZ", "LANG", "LC_ALL",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING", "TORCHINDUCTOR_MAX_AUTOTUNE", "TRITON_PRINT_AUTOTUNING", "OTEL_SERVICE_NAME",
    ],
)  # fmt: skip
def test_variables_that_tune_are_let_through(name: str) -> None:
    assert build(env={name: "1"}).environment == ((name, "1"),)


@pytest.mark.parametrize("name", ["PYTORCH_ROCM_ARCH", "GPU_ARCHS", "AMDGPU_TARGETS", "MAX_JOBS"])
def test_a_word_for_compilers_cannot_end_their_command(name: str) -> None:
    assert not errors(build(env={name: "gfx942:sramecc+:xnack-;gfx950"}))
    for value in ("gfx942$(x)", "gfx942|x", "`x`", "gfx942\nx", 'gfx"', "gfx942&x", "gfx\u0669"):
        assert "written into commands of compilers" in errors(build(env={name: value}))[0]
        assert not errors(build(env={name: value}, allowed_variables=(name,)))


def test_every_variable_of_vllm_that_names_code_is_refused() -> None:
    suspicious = {name for name in environment_names() if name.endswith(("_SO_PATH", "_RUST_FRONTEND_PATH"))}
    assert suspicious
    assert all(errors(build(env={name: "x"})) for name in suspicious)


@pytest.mark.parametrize(
    "engine_args",
    [
        pytest.param({"trust_remote_code": True}, id="whole"),
        pytest.param({"--trust-remote-code": "true"}, id="with dashes"),
        pytest.param({"hf_overrides": {"a": {"trust_remote_code": True}}}, id="inside hf_overrides"),
        pytest.param({"hf_overrides": '{"text_config": {"trust_remote_code": true}}'}, id="inside its text"),
        pytest.param({"speculative_config": {"model": "x", "trust_remote_code": True}}, id="of a draft model"),
        pytest.param({"speculative_config.trust_remote_code": True}, id="as a single key"),
        pytest.param({"sc.trust_remote_code": "true"}, id="as a key of a short name"),
        pytest.param({"tool_parser_plugin": "/model-store/x.py"}, id="a plugin's file"),
        pytest.param({"middleware": "x.y"}, id="middleware"),
        pytest.param({"worker_cls": "x.Y"}, id="a class of the worker"),
        pytest.param({"kv_transfer_config": {"kv_connector_module_path": "x"}}, id="a module of a connector"),
        pytest.param({"mm_processor_kwargs": {"trust_remote_code": "false"}}, id="a text inside JSON, which is true"),
        pytest.param({"structured_outputs_config": {"reasoning_parser_plugin": "/x.py"}}, id="a plugin inside JSON"),
        pytest.param({"structured_outputs_config.reasoning_parser_plugin": "/x.py"}, id="a plugin as a single key"),
        pytest.param({"additional_config": {"worker_cls": "x.Y"}}, id="a class inside JSON"),
        pytest.param({"compilation_config": {"backend": "x.y"}}, id="a compiler's function"),
        pytest.param({"compilation_config.backend": "x.y"}, id="the same as a single key"),
        pytest.param({"compilation_config": {"inductor_passes": {"a": "os.system"}}}, id="a compiler's pass"),
        pytest.param({"compilation_config": {"cache_dir": "/model-store"}}, id="compiled code"),
    ],
)
def test_code_beside_the_model_is_refused_where_it_is_not_trusted(engine_args: dict[str, Any]) -> None:
    assert not errors(build(engine_args))
    assert "INFERENCE_TRUST_REMOTE_CODE" in errors(build(engine_args, trusts_code=False))[0]


def test_code_that_is_switched_off_may_be_written_down() -> None:
    given = {"trust_remote_code": False, "speculative_config": {"model": "x", "trust_remote_code": False}}
    assert not errors(build(given, trusts_code=False))
    assert not errors(build({"speculative_config.trust_remote_code": "false"}, trusts_code=False))
    assert not errors(build({"compilation_config": {"backend": "inductor", "mode": 3}}, trusts_code=False))
    assert errors(build(env={"HF_DATASETS_TRUST_REMOTE_CODE": "1"}, trusts_code=False))


def test_an_unknown_argument_warns_names_the_nearest_and_is_passed_on() -> None:
    line = build({"max_num_seq": 4, "brand_new": True})
    assert warnings(line) == [
        "vllm.engineArgs.brand_new: is unknown to vLLM 0.33.0 and passed on as it is",
        "vllm.engineArgs.max_num_seq: is unknown to vLLM 0.33.0 and passed on as it is; did you mean max_num_seqs?",
    ]
    assert flags(line) == ["--brand-new", "--max-num-seq=4"]
    assert flags(build({"brand_new.switch": True})) == ["--brand-new.switch=true"]


@pytest.mark.parametrize(("name", "instead"), sorted(engine_arguments().removed.items()))
def test_a_removed_argument_names_what_took_its_place(name: str, instead: str) -> None:
    assert f"does not take it: {instead}" in warnings(build({name: 1}))[0]


@pytest.mark.parametrize(
    "name",
    [
        "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "LWS_GROUP_SIZE", "INFERENCE_GPUS",
        "VLLM_HOST_IP", "VLLM_PORT", "HF_TOKEN", "ROCM_VERSION", "not-a-name", "",
    ],
)  # fmt: skip
def test_an_owned_or_impossible_variable_is_refused(name: str) -> None:
    line = build(env={name: "1"})
    assert errors(line)
    assert line.environment == ()


def test_variables_are_sorted_and_unknown_ones_of_vllm_warn() -> None:
    line = build(env={"VLLM_ROCM_USE_AITR": "1", "NCCL_DEBUG": "INFO"})
    assert line.environment == (("NCCL_DEBUG", "INFO"), ("VLLM_ROCM_USE_AITR", "1"))
    assert "did you mean VLLM_ROCM_USE_AITER?" in warnings(line)[0]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(sorted(engine_arguments().arguments)) | st.text(max_size=12)
spellings = st.tuples(names, st.booleans()).map(lambda it: it[0].replace("_", "-") if it[1] else it[0])
arguments = st.dictionaries(spellings, values, max_size=6)


@given(arguments)
def test_any_input_is_answered_and_no_accepted_flag_stands_twice(engine_args: dict[str, Any]) -> None:
    line = build(engine_args)
    names = [token.partition("=")[0] for token in line.arguments if token.startswith("--")]
    once = [name for name in names if name != "--middleware"]  # the one that vLLM appends
    assert len(once) == len(set(once))
    assert line.arguments[:2] == ("--model=org/model", "--served-model-name=model")


@given(arguments, st.randoms())
def test_the_order_of_keys_does_not_matter(engine_args: dict[str, Any], chance: Any) -> None:
    keys = list(engine_args)
    chance.shuffle(keys)
    again, first = build({key: engine_args[key] for key in keys}), build(engine_args)
    if not errors(first):
        assert again == first


@given(st.dictionaries(st.sampled_from(sorted(engine_arguments().arguments)), values, max_size=6))
def test_what_is_accepted_is_parsed_by_a_parser_of_the_table(engine_args: dict[str, Any]) -> None:
    line = build(engine_args)
    if not errors(line):
        parser().parse_args(line.arguments)


def test_a_service_takes_a_list_of_adapters() -> None:
    line = build({"enable_lora": True, "lora_modules": [{"name": "sql", "path": "/x/sql"}]})
    assert flags(line) == ["--enable-lora", "--lora-modules", '{"name":"sql","path":"/x/sql"}']


def parser() -> argparse.ArgumentParser:
    """argparse over the table; types are checked as vLLM's do, as far as argparse itself does it."""
    result = argparse.ArgumentParser(exit_on_error=False)
    kinds: dict[str, Any] = {"int": int, "float": float, "json": json.loads}
    for argument in engine_arguments().arguments.values():
        flag = "--" + argument.name.replace("_", "-")
        if argument.type in ("bool", "flag"):
            result.add_argument(flag, action="store_true")
            if argument.negative:
                result.add_argument("--" + argument.negative.replace("_", "-"), action="store_true")
            continue
        nargs: Any = "+" if argument.many else None
        result.add_argument(flag, type=kinds.get(argument.type, str), nargs=nargs, choices=argument.choices or None)
    return result


def test_the_tables_are_whole() -> None:
    table = engine_arguments()
    assert len(table.arguments) > 300
    assert set(table.aliases.values()) <= set(table.arguments)
    assert {argument.type for argument in table.arguments.values()} == {
        "bool", "flag", "int", "float", "size", "json", "json list", "json or text", "text", "comma text", "adapter",
    }  # fmt: skip
    assert not table.removed.keys() & table.arguments.keys()
    assert "VLLM_ROCM_USE_AITER" in environment_names()


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        pytest.param({"max_model_len": 1e5}, ["--max-model-len=100000"], id="a number that YAML reads as a float"),
        pytest.param({"O3": True}, ["--optimization-level=3"], id="the level in the argument's name"),
        pytest.param({"-O2": ""}, ["--optimization-level=2"], id="the level as on a command line"),
        pytest.param({"generation_config": "/model-store/x"}, ["--generation-config=/model-store/x"], id="a folder"),
    ],
)
def test_what_means_an_argument_is_taken_without_a_word(given: dict[str, Any], tokens: list[str]) -> None:
    line = build_command_line(EngineSpec(model="org/m", served_name="m", engine_args=given))
    assert list(line.arguments[4:]) == tokens
    assert line.findings == ()


@pytest.mark.parametrize("name", ["quantization", "load_format", "kv_cache_dtype"])
def test_an_argument_that_takes_words_is_not_empty(name: str) -> None:
    [finding] = build_command_line(EngineSpec(model="org/m", served_name="m", engine_args={name: ""})).findings
    assert (finding.severity, finding.message) == (Severity.ERROR, "is empty: leave it out, or give it a value")


def test_a_revision_of_the_model_is_passed_on_unless_the_user_gives_one() -> None:
    line = build_command_line(EngineSpec(model="org/m", served_name="m", revision="v1"))
    assert "--revision=v1" in line.arguments
    own = EngineSpec(model="org/m", served_name="m", revision="v1", engine_args={"revision": "v2"})
    assert [it for it in build_command_line(own).arguments if "revision" in it] == ["--revision=v2"]
