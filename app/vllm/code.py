"""What turns data into code: variables and arguments that make a process load or run what a volume or a URL holds.

Whoever may write an InferenceService chooses the model, its volume and the variables. With one of these names that is
enough to run a program of theirs in the namespace, beside its Secrets and claims. So the names are refused unless the
administrator allows them. The list errs on the side of refusing: it names families, not single known tricks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from functools import cache, lru_cache
from typing import Any

from app.vllm.values import parse_json

ALLOW_VARIABLES = "INFERENCE_ALLOWED_VARIABLES"
ALLOW_REMOTE_CODE = "INFERENCE_TRUST_REMOTE_CODE"

_REASONS: Mapping[str, tuple[str, ...]] = {
    "the dynamic linker and the C library load code that it names": (
        "LD_*", "DYLD_*", "GLIBC_TUNABLES", "GCONV_PATH", "GETCONF_DIR", "LOCPATH", "NLSPATH", "HOSTALIASES",
        "RES_OPTIONS", "LOCALDOMAIN", "MALLOC_TRACE", "NIS_PATH", "TZDIR", "LTDL_*",
    ),
    "a program loads the library, plugin or module that it names": (
        "*LIBRARY_PATH", "*_LIB_PATH", "*LIBPATH", "*_LIB_DIR", "*_LIBRARY", "*_LIBRARIES", "*PLUGIN*_PATH",
        "*PLUGIN*_DIR", "*PLUGIN*_LOCATIONS", "*DRIVER*_PATH", "*MODULE*_PATH", "*_MODULES_CACHE", "*_PRELOAD*",
        "*SHMEM_*PLUGIN*", "GI_TYPELIB_PATH", "ALSA_*", "GDAL_*", "OGR_*", "LMCACHE_*PLUGIN*", "LMCACHE_*EXTERNAL*",
        "LMCACHE_CONFIG_FILE",
    ),
    "Python runs or imports what it names": (
        "PYTHON*", "_PYTHON*", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV", "COVERAGE_PROCESS_*", "NUMBA_*DIR", "NUMBA_*PATH",
        "PIP_*", "UV_*", "CONDA_*", "MAMBA_*", "PYENV_*", "POETRY_*", "SETUPTOOLS_*", "DISTUTILS_*", "PYTEST_*",
        "IPYTHON*", "JUPYTER_*", "MPLBACKEND", "MPLCONFIGDIR", "MATPLOTLIBRC", "LOCAL_KERNELS", "KERNELS_*",
        "*_KERNELS_CACHE",
    ),
    "Python objects that are stored there would be unpickled, which runs their code": (
        "OUTLINES_CACHE_DIR", "LIBROSA_CACHE_*", "JOBLIB_*", "NLTK_DATA",
    ),
    "shells and programs run what it names": (
        "PATH", "BASH_*", "BASHOPTS", "SHELLOPTS", "ENV", "SHELL", "IFS", "CDPATH", "PS4", "PROMPT_COMMAND", "ZDOTDIR",
        "KSH_ENV", "EDITOR", "VISUAL", "PAGER", "*_PAGER", "MANPAGER", "BROWSER", "LESSOPEN", "LESSCLOSE", "TERMINFO*",
        "SSH_*", "SUDO_*", "GIT_*", "HG_*", "SVN_SSH", "CVS_*", "RSYNC_*", "*_ASKPASS", "TAR_OPTIONS", "RPM_*",
        "DPKG_*", "FPATH", "FFMPEG_*", "IMAGEIO_*", "PKG_CONFIG*",
    ),
    "an interpreter runs what it names": (
        "PERL*", "RUBY*", "GEM_*", "BUNDLE_*", "NODE_OPTIONS", "NODE_PATH", "NODE_REPL_*", "NPM_*", "LUA_*", "TCL*",
        "PHP*", "GUILE_*", "GO*FLAGS", "R_HOME", "R_LIBS*", "R_PROFILE*", "R_ENVIRON*", "JAVA_*", "JDK_*",
        "_JAVA_OPTIONS", "CLASSPATH", "DOTNET_*", "CORECLR_*", "MONO_*",
    ),
    "programs read their configuration, and code beside it, from there": (
        "HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG", "GOOGLE_EXTERNAL_ACCOUNT_*",
        "CLOUDSDK_*", "AZURE_CONFIG_DIR", "AZURE_EXTENSION_*", "KUBECONFIG", "DOCKER_CONFIG", "XDG_CONFIG_*",
        "XDG_DATA_*", "XDG_RUNTIME_DIR", "VLLM_CONFIG_ROOT", "KRB5*", "SASL_*", "OPENSSL_*", "GNUTLS_*", "NSS_*",
        "P11_KIT_*", "CURL_HOME", "MAGICK_*", "FONTCONFIG_*", "GIO_*", "GTK_*", "GDK_*", "QT_*", "GST_*", "FREI0R_PATH",
        "LADSPA_PATH", "OPENCV_*PLUGIN*", "VK_*", "LIBGL_*", "LIBVA_*", "VDPAU_*", "__EGL_*", "EGL_*", "__GLX_*",
        "GBM_*", "MESA_*",
    ),
    "compiled code is loaded from there; set storage.compileCacheClaim to keep it between starts": (
        "XDG_CACHE_HOME", "TMPDIR", "TMP", "TEMP", "TEMPDIR", "VLLM_CACHE_ROOT", "VLLM_XLA_CACHE_PATH",
        "VLLM_FLASHINFER_AUTOTUNE_CACHE_DIR", "TORCH_EXTENSIONS_*", "TORCHINDUCTOR_*DIR", "TORCHINDUCTOR_*PATH",
        "TORCHINDUCTOR_*REMOTE*", "TORCH*REDIS*", "TRITON_*REMOTE*", "TORCH_HOME", "PYTORCH_KERNEL_CACHE_PATH",
        "TRITON_HOME", "TRITON_*DIR", "TRITON_*PATH*", "TRITON_CACHE_MANAGER", "TRITON_BACKENDS_*", "TRITON_*PLUGIN*",
        "TRITON_KERNEL_OVERRIDE", "AITER_*DIR", "AITER_*PATH", "AITER_*HOME", "AITER_META*", "AITER_ROOT*",
        "FLASHINFER_*DIR", "FLASHINFER_*BASE", "FLYDSL_*DIR", "TILELANG_*DIR", "TVM_*PATH", "TVM_*DIR", "TVM_HOME",
        "MIOPEN_*PATH", "MIOPEN_*DIR", "MIOPEN_*CACHE*", "AMD_COMGR_CACHE*", "AMD_CACHE_*", "COMGR_*", "CUPY_*DIR",
        "ROCFFT_RTC_*", "ROCBLAS_*PATH", "HIPBLASLT_*PATH*", "ROCSPARSE_*PATH", "TENSILE_*PATH*", "CK_*PATH", "CK_*DIR",
        "AOTRITON_*PATH", "MORI_*DIR", "MORI_*PATH", "MORI_*HOME", "DG_*DIR", "JAX_*CACHE*", "*JIT_DIR",
        "*JIT_CACHE_DIR",
    ),
    "compilers, and what finds them, run what it names": (
        "CC", "CXX", "CPP", "AS", "AR", "LD", "NVCC*", "HIPCC*", "HIP_CLANG*", "HIP_COMPILER", "HIP_PATH*", "HIP_ROOT*",
        "HIP_*LIB*", "HIPRTC_*", "DEVICE_LIB_PATH", "ROCM_PATH", "ROCM_HOME", "ROCM_ROOT", "ROCM_DIR", "ROCM_*LLVM*",
        "CUDA_HOME", "CUDA_PATH", "CUDA_*INJECTION*", "*INJECTION*_PATH", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS",
        "CPATH", "*_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_*", "CLANG_*", "CCC_*", "FC", "F77",
        "LDSHARED", "RUSTC*", "RUSTFLAGS", "RUSTUP_*", "CARGO_*", "MAKEFLAGS", "CMAKE_*", "NINJA*", "LIBCLANG_*",
        "LLVM_*", "AMD_OCL_*", "OCL_*", "OPENCL_*", "GPU_*OPTIONS*",
    ),
    "ROCm, OpenMP and profilers load the tools that it names": (
        "HSA_TOOLS_*", "HSA_*_LIB*", "HSA_TOOLS", "ROCP_*", "ROCPROFILER_*", "ROCPROF_*", "ROCTRACER_*", "ROCTX_*",
        "ROCM_TOOL*", "OMNITRACE_*", "ROCPROFSYS_*", "OMP_TOOL*", "OMP_TARGET_OFFLOAD_LIB*", "LIBOMPTARGET_*",
        "AMD_*LOADER*", "AMD_TOOL*", "LOADER_*", "CUPTI_*", "NVTX_*", "KINETO_CONFIG", "KINETO_*LIB*", "HIP_*TOOL*",
        "HIP_*INTERCEPT*",
    ),
    "RCCL, UCX, libfabric and RDMA load the plugins that it names": (
        "*NCCL_*PLUGIN*", "RCCL_*PLUGIN*", "RCCL_*LIB*", "RCCL_*PATH*", "NCCL_*LIB*", "NCCL_*_SO", "NCCL_*_PATH",
        "NCCL_CONF_FILE", "NCCL_NET_SHARED_*", "*MSCCL*DIR*", "*MSCCL*SCHEDULER*", "*MSCCL*PATH*", "UCX_MODULE*",
        "UCX_CONFIG*", "UCX_TLS_LIB*", "UCC_*PATH", "FI_PROVIDER_PATH", "SHARP_*", "HCOLL_*", "IBV_*DRIVER*",
        "IBV_*DIR*", "RDMAV_*", "MLX5_*LIB*", "NIXL_PLUGIN*", "HWLOC_*PLUGIN*",
    ),
    "MPI runs the programs and loads the components that it names": (
        "OMPI_*", "PMIX_*", "PMI_*", "PRTE_*", "ORTE_*", "OPAL_*", "MCA_*", "HYDRA_*", "I_MPI_*", "MPI*", "MPICH_*",
        "MV2_*",
    ),
    "Ray imports or runs what it names, or joins another cluster": (
        "RAY_USER_*", "RAY_RUNTIME_ENV*", "RAY_ADDRESS", "RAY_*LIB*", "RAY_*PRELOAD*", "RAY_*PLUGIN*", "RAY_*HOOK*",
        "RAY_*SETUP*", "RAY_*COMMAND*", "RAY_PICKLE*", "RAY_CLOUDPICKLE*", "RAY_JOB_CONFIG*", "RAY_*OVERRIDE_*ENV*",
    ),
    "vLLM or PyTorch runs or loads what it names": (
        "VLLM_LOGGING_CONFIG_PATH", "VLLM_*_SO_PATH", "VLLM_NCCL_INCLUDE_PATH", "VLLM_CUDA_COMPATIBILITY_PATH",
        "VLLM_RUST_FRONTEND_PATH", "VLLM_MODEL_REDIRECT_PATH", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_*LIB*",
        "TORCH_*PLUGIN*", "UVICORN_*", "GUNICORN_*",
    ),
    "objects that clients send would be unpickled, which runs their code": ("VLLM_ALLOW_INSECURE_SERIALIZATION",),
    "it opens vLLM's development endpoints, which call methods of the workers, to all who reach the port": (
        "VLLM_SERVER_DEV_MODE",
    ),
}  # fmt: skip
"""Why, and the names, with * for any characters. Small letters count as large ones: Ray, for one, reads both."""

_BUILD_WORDS = ("*_ARCH", "*_ARCHS", "*_ARCH_LIST", "*_ARCHITECTURES", "*_TARGET", "*_TARGETS", "MAX_JOBS")
"""Variables that reach command lines of compilers, which a shell reads."""
_BUILD_WORD = re.compile(r"[A-Za-z0-9_.:;,+ -]*", re.ASCII)

REMOTE_CODE = "trust_remote_code"
CODE_ARGUMENTS = frozenset({
    REMOTE_CODE, "io_processor_plugin", "log_config_file", "logging_config", "logits_processors", "middleware",
    "model_class_overrides", "reasoning_parser_plugin", "scheduler_cls", "tool_parser_plugin", "worker_cls",
    "worker_extension_cls",
})  # fmt: skip
"""Arguments that import a module or a file that they name."""
_CODE_KEYS = (*sorted(CODE_ARGUMENTS), "module_path", "_plugin", "_plugins", "_cls", "inductor_passes", "custom_pass",
              "cache_dir")  # fmt: skip
"""Endings of keys that do the same inside JSON arguments, for example kv_transfer_config.kv_connector_module_path; and
where vLLM would find compiled code."""
_QUALIFIED = ("backend", "_class")
"""Keys that may name something in a module, with a dot; without one they choose among what vLLM has."""
_OFF = (None, False, 0, "", "false", "False", "0")
_OFF_INSIDE = (None, False, 0, "")
"""Inside JSON a text stays one, and is true."""


def value_danger(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Why this value of a variable is refused; "" when it is harmless or allowed."""
    if _BUILD_WORD.fullmatch(value) or not _any_of(_BUILD_WORDS).fullmatch(name.upper()):
        return ""
    if _any_of(allowed).fullmatch(name):
        return ""
    why = "it is written into commands of compilers: use letters, digits, spaces and _ . : ; , + - only"
    return f"{why}; an administrator may allow more in {ALLOW_VARIABLES}"


@lru_cache(maxsize=4096)
def variable_danger(name: str, allowed: tuple[str, ...], trusts_code: bool) -> str:
    """Why this variable is refused, and the setting that allows it; "" when it is harmless or allowed."""
    if _any_of(allowed).fullmatch(name):
        return ""
    if not trusts_code and "TRUST_REMOTE_CODE" in name.upper():
        return f"code beside a model is not trusted here ({ALLOW_REMOTE_CODE})"
    large = name.upper()
    why = next((why for why, patterns in _REASONS.items() if _any_of(patterns).fullmatch(large)), "")
    return f"{why}; an administrator may allow it in {ALLOW_VARIABLES}" if why else ""


@cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Compiled once: a spec may have hundreds of variables, and a sync is to cost little."""
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)")


def argument_danger(name: str, value: Any) -> str:
    """Why an argument is refused where code beside a model is not trusted; `name` may end in keys after dots."""
    argument, *keys = name.split(".")
    own = argument in CODE_ARGUMENTS and value not in _OFF
    if not own and not any(_loads_code(key, given) for key, given in _entries(keys, value)):
        return ""
    return f"it makes vLLM run code that comes with a model or volume, which is not trusted here ({ALLOW_REMOTE_CODE})"


def _loads_code(key: str, value: Any) -> bool:
    name = key.replace("-", "_").lower().rstrip("+")
    qualified = isinstance(value, str) and name.endswith(_QUALIFIED) and bool(set(value) & {".", ":", "/"})
    return qualified or (name.endswith(_CODE_KEYS) and value not in _OFF_INSIDE)


def _entries(keys: list[str], value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a JSON value at any depth, with what it holds."""
    parsed = parse_json(value)
    yield from ((key, value if parsed is None else parsed) for key in keys)
    waiting = [parsed]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from item.items()
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
