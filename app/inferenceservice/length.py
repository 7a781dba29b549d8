"""How long a sequence the model takes, as vLLM will see it: its own length, unless the spec extends it.

    rope scaling in hf_overrides     vLLM derives a longer length: positions x factor, or original positions x factor
    max_position_embeddings there    is taken for the length
    VLLM_ALLOW_LONG_MAX_MODEL_LEN    vLLM takes any length
    hf_config_path                   another configuration: nothing is known

What cannot be read counts as not known: then vLLM decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.fit.model import ModelFacts
from app.vllm.command import LONG_LENGTH
from app.vllm.values import parse_json, parse_number

_SCALING = ("rope_scaling", "rope_parameters")
_POSITIONS = "max_position_embeddings"
_ORIGINAL = "original_max_position_embeddings"
_LENGTHS = frozenset({
    *_SCALING, _POSITIONS, _ORIGINAL, "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_target_positions", "max_sequence_length", "sliding_window", "architectures", "model_type",
})  # fmt: skip
"""Keys of a configuration from which vLLM derives the length, or that change how it does."""


def find_limit(spec: InferenceServiceSpec, model: ModelFacts | None) -> int | None:
    """Tokens of the longest sequence that vLLM will serve; None = not known, or without limit."""
    own = model.longest if model else None
    arguments = spec.known_arguments
    if own is None or _takes_any(spec.vllm.env_vars) or arguments.get("hf_config_path"):
        return None
    overrides = _overrides(arguments)
    if overrides is None:
        return None
    touched = {key: value for key, value in overrides.items() if key in _LENGTHS}
    return _extended(own, touched) if touched else own


def _takes_any(variables: Mapping[str, str]) -> bool:
    return variables.get(LONG_LENGTH, "").strip().lower() in ("1", "true")


def _overrides(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Keys of hf_overrides, those of the language model's part among them; None where they cannot be read."""
    given = arguments.get("hf_overrides")
    whole = {} if given is None else parse_json(given)
    if not isinstance(whole, dict):
        return None
    for name, value in arguments.items():
        argument, *keys = name.split(".")
        if argument == "hf_overrides" and keys:
            whole = _merged(whole, keys, value)
    inner = whole.get("text_config")
    return whole | (inner if isinstance(inner, dict) else {})


def _merged(whole: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    key, *rest = keys
    before = whole.get(key)
    return whole | {key: _merged(before if isinstance(before, dict) else {}, rest, value) if rest else value}


def _extended(own: int, touched: Mapping[str, Any]) -> int | None:
    """The length under changed positions; at least the model's own counts, for a shorter one is vLLM's to refuse."""
    positions = _count(touched.get(_POSITIONS)) or own
    scaling = next((touched[key] for key in _SCALING if touched.get(key)), None)
    if set(touched) - {*_SCALING, _POSITIONS} or not isinstance(scaling, dict | None):
        return None
    if not scaling:
        return positions
    factor = parse_number(scaling.get("factor"))
    kind = scaling.get("rope_type") or scaling.get("type")
    if not factor or factor < 1 or kind not in ("linear", "dynamic", "yarn"):
        return None
    original = _count(scaling.get(_ORIGINAL)) if kind == "yarn" else None
    return max(positions, int((original or positions) * factor))


def _count(value: Any) -> int | None:
    number = parse_number(value)
    return int(number) if number and number >= 1 else None
