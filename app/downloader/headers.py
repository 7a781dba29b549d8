"""Headers of safetensors files: how many parameters and bytes a checkpoint has, and whether its files are whole.

A file is 8 bytes of little-endian length N, N bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}}, then
the data; offsets count from the end of the header. Only the header is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_HEADER = 100_000_000
"""Bytes; the format's own limit."""
MOST_PARSED = 16 << 20
"""Bytes; a quarter of a million tensors. Larger ones would take more memory than the downloader may have."""
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_LARGEST = 2**63 - 1


class HeaderError(ValueError):
    """Why a file is no whole safetensors file; a sentence."""


@dataclass(frozen=True)
class Header:
    """Totals of one file."""

    parameters: int | None
    """Elements of all tensors, as stored: packed formats count their containers. None = too many tensors to look."""
    tensor_bytes: int


def read_header(path: Path) -> Header:
    """The totals of a file, after checking that its tensors lie inside it and fit their shapes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= MOST_HEADER:
            raise HeaderError(f"{path.name}: its beginning is no safetensors header (length {length}).")
        if 8 + length > size:
            raise HeaderError(f"{path.name}: truncated: the header needs {8 + length} bytes, the file has {size}.")
        if length > MOST_PARSED:
            return Header(None, size - 8 - length)
        raw = file.read(length)
    return parse_header(raw, size - 8 - length, path.name)


def parse_header(raw: bytes, data_bytes: int, name: str) -> Header:
    """The totals in a header's JSON, for a file whose data part has this many bytes."""
    tensors = _tensors(raw, name)
    parameters = tensor_bytes = 0
    for key, tensor in tensors.items():
        elements, begin, end = _tensor(key, tensor, name)
        if end > data_bytes:
            raise HeaderError(f"{name}: truncated: tensor {key[:80]!r} ends at {end}, the data at {data_bytes}.")
        parameters, tensor_bytes = parameters + elements, tensor_bytes + end - begin
    if tensor_bytes > data_bytes:
        raise HeaderError(f"{name}: its tensors overlap.")
    return Header(parameters, tensor_bytes)


def _tensors(raw: bytes, name: str) -> Mapping[str, Any]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"{name}: its header is no JSON.") from error
    if not isinstance(content, dict):
        raise HeaderError(f"{name}: its header is no JSON object.")
    content.pop("__metadata__", None)
    return content


def _tensor(key: str, tensor: Any, name: str) -> tuple[int, int, int]:
    """Elements, begin and end of one tensor."""
    wrong = HeaderError(f"{name}: tensor {key[:80]!r} makes no sense.")
    if not isinstance(tensor, dict):
        raise wrong
    shape, offsets, dtype = _counts(tensor.get("shape")), _counts(tensor.get("data_offsets")), tensor.get("dtype")
    if shape is None or offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise wrong
    elements = math.prod(shape)
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if elements > _LARGEST or (bits is not None and -(-elements * bits // 8) != offsets[1] - offsets[0]):
        raise wrong
    return elements, offsets[0], offsets[1]


def _counts(value: Any) -> list[int] | None:
    """The list of whole numbers that are not negative; None when it is none."""
    if not isinstance(value, list) or len(value) > 32:
        return None
    return value if all(type(it) is int and 0 <= it <= _LARGEST for it in value) else None
