"""What does not act as it was written where the model is in a ModelCache: told beside Ready, stops nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.inferenceservice.spec import InferenceServiceSpec
from app.inferenceservice.store import Store
from app.vllm.values import parse_json

OFFLINE = "HF_HUB_OFFLINE"
_HUB_ID = re.compile(r"(hf://|huggingface://)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NAMES = ("tokenizer", "hf_config_path", "generation_config")
"""Arguments that may name a repository of the Hub."""
_NO = frozenset({"", "0", "false", "no", "off"})


def storage_notes(spec: InferenceServiceSpec, store: Store | None) -> tuple[str, ...]:
    """Whole clauses without a full stop; `store` is None without a ModelCache."""
    if store is None:
        return ()
    return (*_read_only(spec, store), *_offline(spec))


def _read_only(spec: InferenceServiceSpec, store: Store) -> Iterator[str]:
    if not spec.storage.read_only and store.is_others:
        yield (
            "storage.readOnly: false is ignored, because volumes that the ModelCache did not make are mounted read-only"
        )


def _offline(spec: InferenceServiceSpec) -> Iterator[str]:
    if spec.vllm.env_vars.get(OFFLINE, "1").strip().lower() in _NO:
        return
    for name, value in _hub_ids(spec.known_arguments):
        yield (
            f"engineArgs.{name}: {value} is a repository of the Hub, and pods that have a ModelCache ask the Hub for "
            f"nothing: give a folder below /model-store, or set envVars.{OFFLINE} to 0"
        )


def _hub_ids(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in sorted(arguments.items()):
        if name in _NAMES or name == "speculative_config.model":
            yield from _hub_id(name, value)
    draft = _parsed(arguments.get("speculative_config"))
    if isinstance(draft, Mapping):
        yield from _hub_id("speculative_config.model", draft.get("model"))
    for path in _adapter_paths(arguments.get("lora_modules")):
        yield from _hub_id("lora_modules", path)


def _adapter_paths(adapters: Any) -> Iterator[Any]:
    """name=path, objects with a path, or a mapping of names to paths."""
    for adapter in adapters if isinstance(adapters, list) else [adapters]:
        found = _parsed(adapter)
        if not isinstance(found, Mapping):
            yield str(found or "").partition("=")[2]
        else:
            yield from [found["path"]] if "path" in found else found.values()


def _parsed(value: Any) -> Any:
    """A value that may be JSON text."""
    return parse_json(value) if isinstance(value, str) and value.lstrip().startswith(("{", "[")) else value


def _hub_id(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and _HUB_ID.fullmatch(value):
        yield name, value
