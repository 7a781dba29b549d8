"""Spec fields + GPU plan + engineArgs -> the command line of `vllm serve`, each flag once.

Order of precedence: simple fields, then the GPU plan, then engineArgs. What is the same in all groups stands here;
what differs from node to node (--nnodes, --node-rank, --master-addr, --headless) is added by the images' scripts.
Source: the argument parser of the vLLM version named in engine_args.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.fit.memory.precision import Precision
from app.fit.parallelism import Parallelism
from app.vllm.arguments import PATH, SIZES, Given, check, check_names, resolve
from app.vllm.code import argument_danger
from app.vllm.environment import build_environment
from app.vllm.finding import Finding, Severity, error, warning, with_hints
from app.vllm.hub import check_hub
from app.vllm.values import Tokens, compact, flag, parse_json, parse_size

__all__ = ["CommandLine", "EngineSpec", "Finding", "Precision", "Severity", "build_command_line"]


@dataclass(frozen=True)
class EngineSpec:
    """Everything a command line depends on."""

    model: str
    """Folder of the weights, or a Hugging Face id."""
    served_name: str
    revision: str = ""
    """Branch, tag or commit of the id; "" = vLLM's default."""
    precision: Precision | None = None
    stored: str = ""
    """Number format in which the checkpoint is quantised already; "" = it is not, or nothing is known of it."""
    max_tokens: int | None = None
    longest: int | None = None
    """Tokens of the longest sequence that the model takes: vLLM does not start with more. None = not known, or vLLM is
    told to go beyond."""
    temperature: float | None = None
    parallelism: Parallelism = field(default_factory=Parallelism)
    nodes: int = 1
    """Pods of one group."""
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    allowed_variables: tuple[str, ...] = ()
    """Variables that turn data into code and may be given all the same; * stands for any characters."""
    trusts_code: bool = True
    """vLLM may run code that comes with a model."""
    port: int = 8000
    drain_seconds: int = 60
    """How long requests that run may take to end after SIGTERM."""


@dataclass(frozen=True)
class CommandLine:
    """Arguments of `vllm serve` and the user's environment, sorted by name."""

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


# fp8 quantises while loading what is not quantised yet; what comes quantised, as int8 and int4 always do, vLLM reads
# as the checkpoint says, and refuses to be told another method.
_PRECISION = {
    Precision.FP16: ("dtype", "float16"),
    Precision.BF16: ("dtype", "bfloat16"),
    Precision.FP32: ("dtype", "float32"),
    Precision.FP8: ("quantization", "fp8"),
}
_LENGTH = "max_model_len"
LONG_LENGTH = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
"""vLLM's own variable."""
_EXPERTS = "enable_expert_parallel"
_BACKEND = "distributed_executor_backend"
_COPIES = "data_parallel_backend"
_GENERATION = "override_generation_config"


def build_command_line(spec: EngineSpec) -> CommandLine:
    """The command line and what is wrong with it; with an ERROR among the findings it must not be started."""
    given, too_long = _within_length(resolve(spec.engine_args), spec)
    mine = _fixed(spec) | _sizes(spec)
    advanced, findings = _advanced(given, spec)
    simple: dict[str, Tokens] = {name: (f"{flag(name)}={value}",) for name, value in _simple(spec, given).items()}
    arguments = mine | {name: tokens for name, tokens in simple.items() if name not in advanced} | advanced
    names = (*_check_precision(spec, given), *check_names(given))
    hub = check_hub(given, spec.model, spec.served_name, spec.env)
    environment, wrong_variables = build_environment(spec.env, spec.allowed_variables, spec.trusts_code)
    return CommandLine(
        arguments=tuple(token for tokens in arguments.values() for token in tokens),
        environment=environment,
        findings=tuple(with_hints((*too_long, *names, *findings, *hub, *wrong_variables))),
    )


def _fixed(spec: EngineSpec) -> dict[str, Tokens]:
    revision: dict[str, Tokens] = {"revision": (f"--revision={spec.revision}",)} if spec.revision else {}
    return {
        "model": (f"--model={spec.model}",),
        "served_model_name": (f"--served-model-name={spec.served_name}",),
        "port": (f"--port={spec.port}",),
        "shutdown_timeout": (f"--shutdown-timeout={spec.drain_seconds}",),
        **revision,
    }


def _sizes(spec: EngineSpec) -> dict[str, Tokens]:
    """The GPU plan; 1 is vLLM's default. Without a backend, vLLM would look for GPUs of all nodes on one."""
    plan = spec.parallelism
    sizes = zip(SIZES, (plan.tensor, plan.pipeline, plan.data), strict=True)
    tokens: dict[str, Tokens] = {name: (f"{flag(name)}={size}",) for name, size in sizes if size > 1}
    backend: dict[str, Tokens] = {_BACKEND: (f"{flag(_BACKEND)}=mp",)} if spec.nodes > 1 else {}
    experts: dict[str, Tokens] = {_EXPERTS: (flag(_EXPERTS),)} if plan.expert_parallel else {}
    return tokens | experts | backend


def _simple(spec: EngineSpec, given: list[Given]) -> dict[str, str]:
    read = spec.precision is Precision.FP8 and spec.stored
    precision = [_PRECISION[spec.precision]] if spec.precision in _PRECISION and not read else []
    tokens = [it for it in (spec.max_tokens, spec.longest if spec.max_tokens else None) if it is not None]
    length = [("max_model_len", str(min(tokens)))] if tokens else []
    return dict(precision + length) | _temperature(spec, given)


def _temperature(spec: EngineSpec, given: list[Given]) -> dict[str, str]:
    """A key of its own beside the user's keys: a JSON argument and single keys of it do not go together."""
    if spec.temperature is None:
        return {}
    if any(entry.argument == _GENERATION and entry.is_dotted for entry in given):
        return {f"{_GENERATION}.temperature": compact(spec.temperature)}
    return {_GENERATION: compact(_sampling(spec))}


def _sampling(spec: EngineSpec) -> dict[str, Any]:
    return {} if spec.temperature is None else {"temperature": spec.temperature}


def _advanced(given: list[Given], spec: EngineSpec) -> tuple[dict[str, Tokens], list[Finding]]:
    """What users gave, less the parallel sizes, which the GPU plan has taken in already."""
    checked = [(entry, *check(_with_temperature(entry, spec))) for entry in given]
    findings = [
        finding
        for entry, _, found in checked
        for finding in (
            *found,
            *_check_backend(entry, spec),
            *_check_copies(entry, given, spec),
            *_check_code(entry, spec),
        )
    ]
    tokens = {entry.name: tokens for entry, tokens, _ in checked if tokens and entry.name not in SIZES}
    return tokens, findings


def _with_temperature(entry: Given, spec: EngineSpec) -> Given:
    """model.temperature stays in force under a user's own sampling defaults, unless they name it too."""
    own = parse_json(entry.value) if entry.name == _GENERATION else None
    return Given(entry.key, entry.name, _sampling(spec) | own) if isinstance(own, dict) else entry


def _within_length(given: list[Given], spec: EngineSpec) -> tuple[list[Given], list[Finding]]:
    """A length beyond the model's own is served with the model's own, and said, for vLLM would not start."""
    longest = spec.longest
    if longest is None:
        return given, []
    lengths = [entry for entry in given if entry.name == _LENGTH]
    asked = [(entry.path, size) for entry in lengths if (size := parse_size(entry.value))]
    if spec.max_tokens and not lengths:
        asked = [("model.maxTokens", spec.max_tokens)]
    findings = [warning(path, _beyond(size, longest)) for path, size in asked if size > longest]
    return [_shortened(entry, longest) for entry in given], findings


def _shortened(entry: Given, longest: int) -> Given:
    is_long = entry.name == _LENGTH and (parse_size(entry.value) or 0) > longest
    return Given(entry.key, entry.name, longest) if is_long else entry


def _beyond(asked: int, longest: int) -> str:
    return (
        f"{asked:,} tokens are more than the model's own {longest:,}, so it is served with {longest:,}; to extend it, "
        f"scale its positions with {PATH}.hf_overrides (rope_scaling), or set {LONG_LENGTH}=1 in vllm.envVars, which "
        "makes vLLM take the length as it is, at the risk of wrong answers"
    )


def _check_copies(entry: Given, given: list[Given], spec: EngineSpec) -> list[Finding]:
    """Who starts the copies of a group: what starts the rest of it."""
    if entry.name != _COPIES or entry.value == "mp" or spec.nodes == 1:
        return []
    if any(other.name == _BACKEND and other.value == "ray" for other in given):
        return []
    return [error(entry.path, f"takes mp in a group of several nodes, unless {_BACKEND} is ray")]


def _check_backend(entry: Given, spec: EngineSpec) -> list[Finding]:
    if entry.name != _BACKEND or entry.value in ("mp", "ray") or (spec.nodes == 1 and entry.value == "uni"):
        return []
    return [error(entry.path, "takes mp or ray here; other ways to start a group are not the operator's")]


def _check_code(entry: Given, spec: EngineSpec) -> list[Finding]:
    why = "" if spec.trusts_code else argument_danger(entry.name, entry.value)
    return [error(entry.path, f"is refused: {why}")] if why else []


def _check_precision(spec: EngineSpec, given: list[Given]) -> list[Finding]:
    if any(entry.name == "quantization" for entry in given):
        return []
    if spec.precision is Precision.FP8 and spec.stored not in ("", Precision.FP8):
        message = f"the checkpoint is quantised to {spec.stored} already, and vLLM serves it so: leave precision out"
        return [warning("model.precision", message)]
    if spec.precision not in (Precision.INT8, Precision.INT4):
        return []
    message = (
        f"vLLM cannot turn weights into {spec.precision} while loading: the checkpoint must be quantised already, "
        f"and vLLM reads its method from there; name it in {PATH}.quantization to be sure"
    )
    return [warning("model.precision", message)]
