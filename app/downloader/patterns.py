"""Which files of a repository are wanted: patterns of the user, else no weights twice in different formats.

A file is left out only where a better format of the same weights stands in the same folder, or where it is in a format
that PyTorch does not load while others are there. So a folder keeps its only weights, whatever the root has, and
helpers beside the weights (`sparse_linear.pt`) stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

LOADED: Sequence[Sequence[str]] = ((".safetensors",), (".bin",), (".pt", ".pth", ".ckpt"))
"""Endings of formats that PyTorch loads, best first."""
FOREIGN: Sequence[tuple[str, Sequence[str]]] = (
    ("GGUF", ("*.gguf",)),
    ("ONNX", ("*.onnx", "*.onnx_data", "*.onnx.data")),
    ("OpenVINO", ("openvino_*.bin", "*/openvino_*.bin")),
    ("TensorFlow", ("*.h5", "*.h5.index.json")),
    ("Flax", ("*.msgpack", "*.msgpack.index.json")),
    (
        "Rust, TFLite, LiteRT, Core ML or NeMo",
        (
            *("*.ot", "*.tflite", "*.task", "*.litertlm", "*.mlpackage/*", "*.mlmodelc/*", "*.mlmodel", "*.nemo"),
            "*.pte",
        ),
    ),
    ("MLX", ("weights.npz", "weights.*.npz", "*/weights.npz", "*/weights.*.npz")),
    ("TensorRT", ("*.engine", "*.plan")),
    ("TensorFlow", ("*.ckpt.index", "*.ckpt.meta", "*.ckpt.data-*", "*saved_model.pb", "*variables/variables.*")),
    ("GGML or MLC", ("*.ggml", "ggml-*.bin", "*/ggml-*.bin", "params_shard_*.bin", "*/params_shard_*.bin")),
)
"""Formats that vLLM on ROCm does not load, in the order in which one of them is fetched where there is nothing else."""
ORIGINAL = ("original/*", "*/original/*")
"""The publisher's own format beside the converted one."""
_FOREIGN_FOLDER = re.compile(r"(^|/)(onnx|openvino|coreml|tflite|metal)[^/]*/", re.IGNORECASE)
_TRAINING = re.compile(
    r"(^|/)((optimizer|scheduler|scaler|rng_state|training_args)[^/]*\.(pt|pth|bin)|[^/]*optim_states\.pt)$"
)
"""What a trainer goes on from; none of it is served."""
_INDEX = ".index.json"
_SHARD = re.compile(r"[-_.]\d+[-_]of[-_]\d+$")
_CONSOLIDATED = re.compile(r"consolidated([-_.]\d+)*")
"""The publisher's own layout, which vLLM reads only where the converted one is missing."""
_SAME_MODEL = frozenset({"model", "pytorch_model"})
"""Names that the one model has in different formats."""
_VARIANT = re.compile(r"(?P<stem>.+)\.(fp16|fp32|bf16|fp8|non_ema)")
"""The same weights in another precision beside the plain ones: model.fp32-00001-of-00002.safetensors."""


@dataclass(frozen=True)
class Patterns:
    """None = the user said nothing. A pattern is a shell's; one that ends in / means all below."""

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Weights:
    """A file of weights by what it is: equal folder and family are the same weights."""

    folder: str
    stem: str
    rank: int
    """Place of its format in LOADED; another precision comes after all plain ones, the publisher's own layout last."""
    format: int
    """Place of its format alone."""

    @property
    def family(self) -> tuple[str, str]:
        return self.folder, self.stem


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in patterns)


def wanted(names: Sequence[str], patterns: Patterns) -> list[str]:
    """The names to fetch, in their order. Whoever gives include patterns gets exactly those, formats or not."""
    kept = [name for name in names if not matches(name, patterns.exclude or ())]
    if patterns.include is not None:
        return [name for name in kept if matches(name, patterns.include)]
    return without_duplicates(kept)


def without_duplicates(names: Sequence[str]) -> list[str]:
    """Each folder's weights in their best format, and nothing below original/ when weights are elsewhere too."""
    outside = [name for name in names if not matches(name, ORIGINAL)]
    native = [name for name in outside if not _FOREIGN_FOLDER.search(name) and not _TRAINING.search(name)]
    weights = {name: found for name in native if (found := _weights(name))}
    if all(name.endswith(_INDEX) for name in weights):
        return _best_foreign(names, outside)
    dropped = _worse(weights)
    return [name for name in native if name not in dropped and not _is_foreign(name)]


def _worse(weights: Mapping[str, _Weights]) -> set[str]:
    """What a better format stands for, and the indices of formats of which nothing is left in the folder. An index
    names what it lists, whatever the files are called: model_0.safetensors goes with model.safetensors.index.json."""
    files = {name: found for name, found in weights.items() if not name.endswith(_INDEX)}
    best: dict[tuple[str, str], int] = {}
    for found in files.values():
        best[found.family] = min(found.rank, best.get(found.family, found.rank))
    kept = {name: found for name, found in files.items() if found.rank == best[found.family]}
    left = {(found.folder, found.format) for found in kept.values()}
    indices = {
        name
        for name, found in weights.items()
        if name not in files
        and (found.rank != best[found.family] if found.family in best else (found.folder, found.format) not in left)
    }
    return (files.keys() - kept.keys()) | indices


def find_foreign_only(names: Sequence[str]) -> str:
    """The format of the weights where none is there that vLLM on ROCm loads; "" where one is, or no weights are."""
    if any(_weights(name) for name in names if not _is_foreign(name) and not _TRAINING.search(name)):
        return ""
    return next((title for title, patterns in FOREIGN if any(matches(name, patterns) for name in names)), "")


def _best_foreign(names: Sequence[str], outside: Sequence[str]) -> list[str]:
    present = [patterns for _, patterns in FOREIGN if any(matches(name, _files(patterns)) for name in outside)]
    if not present:
        return list(names)
    worse = [pattern for _, patterns in FOREIGN if patterns is not present[0] for pattern in patterns]
    return [name for name in outside if not matches(name, worse)]


def _files(patterns: Sequence[str]) -> list[str]:
    """The patterns of a format without those of indices, which are no weights."""
    return [pattern for pattern in patterns if not pattern.endswith(_INDEX)]


def _is_foreign(name: str) -> bool:
    return any(matches(name, patterns) for _, patterns in FOREIGN)


def _weights(name: str) -> _Weights | None:
    """What a file of weights, or the index of one, is; None for all others."""
    folder, _, last = name.removesuffix(_INDEX).rpartition("/")
    for rank, endings in enumerate(LOADED):
        for ending in endings:
            if last.endswith(ending) and not _is_foreign(name):
                stem = _SHARD.sub("", last.removesuffix(ending))
                own = _CONSOLIDATED.fullmatch(stem) is not None
                variant = _VARIANT.fullmatch(stem)
                stem = variant["stem"] if variant else stem
                worse = 2 * own + (variant is not None)
                stem = "model" if own or stem in _SAME_MODEL else stem
                return _Weights(folder, stem, rank + worse * len(LOADED), rank)
    return None
