"""The arguments and variables that one vLLM version knows.

engine_args.json and environment.json were read from the parser and envs.py of the version they name; types:
bool = --x and its negative form, flag = --x alone, int, float, size (4096 or "32k"), json = an object, json list,
json or text, text, comma text = one text of several parts, adapter = name=path or an object with both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Argument:
    """One argument of `vllm serve`, named with underscores."""

    name: str
    type: str
    many: bool
    """Takes several values after one --x."""
    repeat: bool
    """Takes several values, each after a --x of its own."""
    choices: tuple[str, ...]
    """All values it takes; empty = any of its type."""
    known: tuple[str, ...]
    """Values it takes without plugins."""
    negative: str
    """Name of the form that switches a bool off."""

    @property
    def takes_json(self) -> bool:
        return self.type.startswith("json")


@dataclass(frozen=True)
class Table:
    """All arguments of a vLLM version."""

    version: str
    arguments: Mapping[str, Argument]
    aliases: Mapping[str, str]
    """Other names of arguments, short ones without their dash."""
    negatives: Mapping[str, str]
    removed: Mapping[str, str]
    """Arguments of earlier versions, and what took their place."""
    unsupported_quantization: frozenset[str]
    """Quantisation methods that vLLM's ROCm platform refuses."""


@cache
def engine_arguments() -> Table:
    """The argument table of the vLLM version that the images carry."""
    raw = _load("engine_args.json")
    rows: Mapping[str, Mapping[str, Any]] = raw["arguments"]
    return Table(
        version=raw["version"],
        arguments={name: _argument(name, row) for name, row in rows.items()},
        aliases={alias: name for name, row in rows.items() for alias in row.get("aliases", ())},
        negatives={row["negative"]: name for name, row in rows.items() if "negative" in row},
        removed=raw["removed"],
        unsupported_quantization=frozenset(raw["rocm_unsupported_quantization"]),
    )


@cache
def environment_names() -> Mapping[str, None]:
    """Every VLLM_* variable that vLLM reads, in their order."""
    return dict.fromkeys(_load("environment.json")["names"])


def _argument(name: str, row: Mapping[str, Any]) -> Argument:
    return Argument(
        name=name,
        type=row["type"],
        many=row.get("many", False),
        repeat=row.get("repeat", False),
        choices=tuple(row.get("choices", ())),
        known=tuple(row.get("known", ())),
        negative=row.get("negative", ""),
    )


def _load(name: str) -> Any:
    return json.loads(resources.files(__package__).joinpath(name).read_text())
