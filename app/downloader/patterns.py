"""Which files of a repository are wanted: patterns of the user, else no weights twice in different formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

FORMATS: Sequence[Sequence[str]] = (
    ("*.safetensors", "*.safetensors.index.json"),
    ("*.bin", "*.bin.index.json"),
    ("*.pt", "*.pth", "*.ckpt"),
    ("*.gguf",),
    ("*.onnx", "*.onnx_data", "*.onnx.data"),
    ("*.h5", "*.h5.index.json"),
    ("*.msgpack", "*.msgpack.index.json"),
    ("*.ot", "*.tflite", "*.mlpackage/*", "*.mlmodel", "*.nemo"),
)
"""Formats of weights, best first: of those that a repository has, only the first is fetched."""
ORIGINAL = ("original/*", "*/original/*")
"""The publisher's own format beside the converted one."""
_CONSOLIDATED = ("consolidated*.safetensors", "consolidated.safetensors.index.json")
_SHARDED = ("model*.safetensors",)


@dataclass(frozen=True)
class Patterns:
    """None = the user said nothing. A pattern is a shell's; one that ends in / means all below."""

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in patterns)


def wanted(names: Sequence[str], patterns: Patterns) -> list[str]:
    """The names to fetch, in their order. Whoever gives include patterns gets exactly those, formats or not."""
    kept = [name for name in names if not matches(name, patterns.exclude or ())]
    if patterns.include is not None:
        return [name for name in kept if matches(name, patterns.include)]
    return without_duplicates(kept)


def without_duplicates(names: Sequence[str]) -> list[str]:
    """Only the best format of weights that is there, and nothing below original/ when weights are elsewhere too."""
    outside = [name for name in names if not matches(name, ORIGINAL)]
    present = [group for group in FORMATS if any(matches(name, _weights(group)) for name in outside)]
    if not present:
        return list(names)
    worse = [pattern for group in FORMATS if group is not present[0] for pattern in group]
    left = [name for name in outside if not matches(name, worse)]
    both = any(matches(name, _SHARDED) for name in left) and any(matches(name, _CONSOLIDATED) for name in left)
    return [name for name in left if not (both and matches(name, _CONSOLIDATED))]


def _weights(group: Sequence[str]) -> list[str]:
    """The patterns of a format without those of indices, which are no weights."""
    return [pattern for pattern in group if not pattern.endswith(".index.json")]
