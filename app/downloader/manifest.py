"""The manifest: written last into a finished folder, so a folder that has one is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.downloader.errors import DownloadError
from app.downloader.listing import Checksum
from app.downloader.names import MANIFEST, check_names
from app.fit import codec
from app.fit.model import ModelFacts

MOST_BYTES = 64 << 20
"""A manifest of the most files with the longest names stays below."""


@dataclass(frozen=True)
class Entry:
    """One file of a finished folder."""

    name: str
    size: int
    checksum: Checksum
    from_source: bool
    """The source gave the checksum; else it is our own, for later checks of the disk only."""
    origin: str = ""
    """RemoteFile.origin."""


@dataclass(frozen=True)
class ModelSummary:
    """What was read from the files."""

    facts: ModelFacts | None = None
    unknown: str = ""
    parameters: int = 0


@dataclass(frozen=True)
class Manifest:
    """What a finished folder holds, and where it came from."""

    model: str
    source: str
    """Shown to people; never a secret."""
    revision: str
    digest: str
    """Listing.digest of what the source had."""
    time: str
    """When it was finished, RFC 3339."""
    files: tuple[Entry, ...]
    summary: ModelSummary
    cache: str = ""
    """namespace/name of the ModelCache that it was made for; "" = not known."""

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.files)

    @property
    def verified(self) -> int:
        return sum(entry.from_source for entry in self.files)


def to_json(manifest: Manifest) -> str:
    facts = manifest.summary.facts
    return json.dumps(
        {
            "version": 1,
            "model": manifest.model,
            "source": manifest.source,
            "revision": manifest.revision,
            "digest": manifest.digest,
            "time": manifest.time,
            "cache": manifest.cache,
            "facts": codec.to_json(facts) if facts else None,
            "factsUnknown": manifest.summary.unknown,
            "parameters": manifest.summary.parameters,
            # Beside the files: earlier versions read no entry that has more than they know.
            "origins": {entry.name: entry.origin for entry in manifest.files if entry.origin},
            "files": [_entry_json(entry) for entry in manifest.files],
        },
        indent=1,
    )


def parse(text: str) -> Manifest | None:
    """None when it is none of ours, or asks for files outside its folder."""
    try:
        raw = json.loads(text)
        return _parse(raw) if isinstance(raw, dict) and raw.get("version") == 1 else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DownloadError):
        return None


def read(folder: Path) -> Manifest | None:
    """The manifest of a finished folder; None when the folder is not finished, or not ours."""
    try:
        descriptor = os.open(folder / MANIFEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return parse(file.read(MOST_BYTES).decode(errors="replace"))


def damaged(folder: Path, manifest: Manifest) -> list[str]:
    """Names of files that are missing or have another size; content is not read."""
    return [entry.name for entry in manifest.files if _size(folder / entry.name) != entry.size]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "size": entry.size,
        entry.checksum.algorithm: entry.checksum.value,
        "fromSource": entry.from_source,
    }


def _parse(raw: Mapping[str, Any]) -> Manifest:
    origins = raw.get("origins") or {}
    files = tuple(_parse_entry(item, str(origins.get(item["name"], ""))) for item in raw["files"])
    check_names(entry.name for entry in files)
    facts = codec.read(ModelFacts, raw["facts"]) if raw.get("facts") else None
    return Manifest(
        model=str(raw["model"]),
        source=str(raw["source"]),
        revision=str(raw["revision"]),
        digest=str(raw["digest"]),
        time=str(raw["time"]),
        files=files,
        summary=ModelSummary(facts, str(raw.get("factsUnknown") or ""), int(raw.get("parameters") or 0)),
        cache=str(raw.get("cache") or ""),
    )


def _parse_entry(raw: Mapping[str, Any], origin: str) -> Entry:
    [algorithm] = set(raw) - {"name", "size", "fromSource"}
    return Entry(
        name=str(raw["name"]),
        size=int(raw["size"]),
        checksum=Checksum(algorithm, str(raw[algorithm])),
        from_source=raw["fromSource"] is True,
        origin=origin,
    )
