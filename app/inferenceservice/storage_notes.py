"""What does not act as it was written where the model is in a ModelCache: told beside Ready, stops nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.inferenceservice.model_volume import Store
from app.vllm.hub import OFFLINE, is_offline

_HUB_ID = re.compile(r"(hf://|huggingface://)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


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
    """vLLM starts without its sampling defaults; names that it cannot start without are refused (app/vllm/hub.py)."""
    given = spec.known_arguments.get("generation_config")
    if is_offline(spec.vllm.env_vars) and isinstance(given, str) and _HUB_ID.fullmatch(given):
        yield (
            f"engineArgs.generation_config: {given} is a repository of the Hub, and pods that have a ModelCache ask "
            f"the Hub for nothing: give a folder below /model-store, or set envVars.{OFFLINE} to 0"
        )
