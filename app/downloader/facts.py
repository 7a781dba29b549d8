"""What the files say about the model: its config.json in the planner's words, and the totals of its weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from app.downloader.errors import DownloadError
from app.downloader.headers import Header, HeaderError, read_header
from app.downloader.manifest import ModelSummary
from app.fit.hf_config.config import Unreadable, parse_config
from app.fit.model import ModelFacts
from app.kube.conditions import ErrorClass

MOST_CONFIG = 16 << 20
"""Bytes; config.json of the largest models has some 100 KiB, an index some MiB."""
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
_POINTER = b"version https://git-lfs.github.com/spec/"


def inspect(folder: Path, names: Sequence[str]) -> ModelSummary:
    """The summary; a DownloadError of class Permanent when weights are damaged or shards are missing."""
    headers = {name: _header(folder / name) for name in names if name.endswith(".safetensors")}
    _require_shards(folder, names)
    top = [header for name, header in headers.items() if "/" not in name]
    counts = [header.parameters for header in top]
    parameters = sum(count or 0 for count in counts) if None not in counts else 0
    weight_bytes = sum(header.tensor_bytes for header in top) or None
    facts = _facts(folder, names, weight_bytes)
    if isinstance(facts, Unreadable):
        return ModelSummary(None, facts.reason, parameters)
    return ModelSummary(facts, "", parameters)


def _header(path: Path) -> Header:
    try:
        return read_header(path)
    except HeaderError as error:
        with path.open("rb") as file:
            pointer = file.read(len(_POINTER)) == _POINTER
        advice = "It is a Git LFS pointer: store the file itself." if pointer else "Check the file at the source."
        raise DownloadError(ErrorClass.PERMANENT, "BadWeights", f"{error} {advice}") from error


def _require_shards(folder: Path, names: Iterable[str]) -> None:
    """An index names files that must be there; patterns may have left some out."""
    if INDEX not in names:
        return
    index = _read_json(folder / INDEX)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    needed = {str(it) for it in shards.values()} if isinstance(shards, dict) else set()
    if missing := sorted(needed - set(names)):
        message = (
            f"{len(missing)} of {len(needed)} weight files that {INDEX} names are missing, for example "
            f"{missing[0][:200]}: check include, exclude and the source."
        )
        raise DownloadError(ErrorClass.PERMANENT, "IncompleteModel", message)


def _facts(folder: Path, names: Iterable[str], weight_bytes: int | None) -> ModelFacts | Unreadable:
    if CONFIG not in names:
        return Unreadable("There is no config.json.")
    config = _read_json(folder / CONFIG)
    if not isinstance(config, dict):
        return Unreadable("config.json is no JSON object, or too large.")
    return parse_config(config, weight_bytes)


def _read_json(path: Path) -> object:
    """None when it is too large or no JSON."""
    if path.stat().st_size > MOST_CONFIG:
        return None
    try:
        content: object = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return content
