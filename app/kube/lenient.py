"""Reading objects that others wrote: what is missing or misshapen reads as empty, never as an exception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def value_at(manifest: Any, *path: str) -> Any:
    """The value at a path of keys, None when any part of the way is missing."""
    for key in path:
        if not isinstance(manifest, Mapping):
            return None
        manifest = manifest.get(key)
    return manifest


def mapping_at(manifest: Any, *path: str) -> Mapping[str, Any]:
    """The mapping there, or an empty one."""
    value = value_at(manifest, *path)
    return value if isinstance(value, Mapping) else {}


def text_at(manifest: Any, *path: str) -> str:
    """The text there, or ""; a number is no text."""
    value = value_at(manifest, *path)
    return value if isinstance(value, str) else ""


def count_at(manifest: Any, *path: str) -> int:
    """The whole number there, or 0."""
    value = value_at(manifest, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def texts_at(manifest: Any, *path: str) -> tuple[str, ...]:
    """The texts in the list there; other items are left out."""
    value = value_at(manifest, *path)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def texts_in(manifest: Any, *path: str) -> Iterator[tuple[str, str]]:
    """The entries with a text of the mapping there, as of labels; others are left out."""
    return ((key, value) for key, value in mapping_at(manifest, *path).items() if isinstance(value, str))


def mappings_at(manifest: Any, *path: str) -> Sequence[Mapping[str, Any]]:
    """The mappings in the list there; other items are left out."""
    value = value_at(manifest, *path)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
