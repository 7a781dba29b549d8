"""Names of the Hugging Face Hub that pods cannot use, and formats that vLLM on ROCm does not load."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.vllm.arguments import Given
from app.vllm.finding import Finding, error, warning
from app.vllm.values import parse_json

OFFLINE = "HF_HUB_OFFLINE"
_ENDPOINT = "HF_ENDPOINT"
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_ID = re.compile(rf"((?:hf|huggingface)://)?{_PART}/{_PART}(@\S{{1,200}})?")
_SHORT_ID = re.compile(_PART)
"""Of a repository without an organisation, as gpt2."""
_WITH_SHORT_IDS = frozenset({"tokenizer", "hf_config_path"})
_NAMES = frozenset({*_WITH_SHORT_IDS, "spec_model"})
_FORMATS = re.compile(
    r"(?:^|[-_./])(gguf|ggml|exl2|exl3|bnb|bitsandbytes|mlx|mlc|onnx|openvino|litert|tflite|coreml|tensorrt|trtllm|aqlm"
    r"|hqq|eetq|qnn)(?:[-_./]|$)",
    re.I,
)
_LOAD_FORMATS = frozenset({"gguf", "bitsandbytes"})
_GATED = re.compile(
    r"meta-llama/|google/[\w.-]*gemma|cohereforai/|coherelabs/|bigcode/starcoder|stabilityai/stable-"
    r"|mistralai/(mistral-large|codestral|pixtral-large|mixtral-8x22b)",
    re.I,
)
"""Beginnings of ids whose repositories ask for an accepted licence, hence for a token."""


def check_hub(given: Iterable[Given], model: str, served_name: str, env: Mapping[str, str]) -> Iterator[Finding]:
    """`model` is a folder of the model's volume, or the id that vLLM fetches itself."""
    entries = list(given)
    yield from (_bad_format(entry) for entry in entries if _is_bad_format(entry))
    if found := _FORMATS.search(served_name):
        yield warning(
            "model.name",
            f"looks like a model in the format {found[1]}, which vLLM does not load on AMD GPUs: take an edition in "
            "safetensors, for example in FP8, AWQ or GPTQ",
        )
    if model.startswith("/"):
        if is_offline(env):
            yield from (_out_of_reach(entry, name) for entry in entries for name in _hub_names(entry))
    elif _GATED.match(model) and _ENDPOINT not in env:
        yield warning(
            "model.name",
            f"the Hub gives {model} to accounts alone that have accepted its licence, and pods have no token: set "
            "model.source, or a ModelCache whose source names a Secret with one",
        )


def is_offline(env: Mapping[str, str]) -> bool:
    """Whether pods that have a ModelCache ask the Hub for nothing, which is so unless the user says otherwise."""
    return env.get(OFFLINE, "1").strip().lower() in ("1", "true", "yes", "on")


def _is_bad_format(entry: Given) -> bool:
    return entry.name == "load_format" and str(entry.value) in _LOAD_FORMATS


def _bad_format(entry: Given) -> Finding:
    return error(entry.path, f"{entry.value} does not run on AMD GPUs; take a model in safetensors")


def _out_of_reach(entry: Given, name: str) -> Finding:
    return error(
        entry.path,
        f"{name} is a name of the Hub, and pods that have their model from a ModelCache are offline: give a path below "
        f"/model-store, leave it out where it is the model's own, or set envVars.{OFFLINE} to 0",
    )


def _hub_names(entry: Given) -> Iterator[str]:
    """Ids of the Hub that an argument names."""
    short = _SHORT_ID if entry.name in _WITH_SHORT_IDS else _ID
    yield from (
        text for text in _named(entry) if isinstance(text, str) and (_ID.fullmatch(text) or short.fullmatch(text))
    )


def _named(entry: Given) -> Iterator[Any]:
    if entry.name in _NAMES or entry.name in ("speculative_config.model", "speculative_config.tokenizer"):
        yield entry.value
    elif entry.name == "speculative_config" and isinstance(inner := parse_json(entry.value), dict):
        yield from (inner.get(key) for key in ("model", "tokenizer"))
    elif entry.name == "lora_modules":
        yield from _adapter_paths(entry.value)


def _adapter_paths(value: Any) -> Iterator[Any]:
    parsed = parse_json(value)
    for item in parsed if isinstance(parsed, list) else [parsed if parsed is not None else value]:
        inner = parse_json(item)
        if isinstance(inner, dict):
            yield from [inner["path"]] if "path" in inner else inner.values()
        elif isinstance(item, str):
            yield item.partition("=")[2]
