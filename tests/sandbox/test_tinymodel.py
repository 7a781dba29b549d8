"""The tiny model is a checkpoint that its readers understand."""

from __future__ import annotations

import json
import struct
from array import array
from pathlib import Path

from tools.sandbox import tinymodel
from tools.sandbox.api import Object


def read_header(path: Path) -> Object:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header: Object = json.loads(content[8 : 8 + length])
    return header


def test_weights_are_whole_and_in_order(tmp_path: Path) -> None:
    path = tinymodel.write_model(tmp_path) / "model.safetensors"
    header = read_header(path)
    del header["__metadata__"]
    assert {name: tuple(entry["shape"]) for name, entry in header.items()} == dict(tinymodel.shapes())
    offsets = [entry["data_offsets"] for entry in header.values()]
    assert [begin for begin, _ in offsets] == [0, *(end for _, end in offsets[:-1])]
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert path.stat().st_size == 8 + length + offsets[-1][1]


def test_the_same_seed_is_the_same_model(tmp_path: Path) -> None:
    weights = [
        tinymodel.write_model(tmp_path / name, seed) / "model.safetensors" for name, seed in (("a", 1), ("b", 1))
    ]
    other = tinymodel.write_model(tmp_path / "c", 2) / "model.safetensors"
    assert weights[0].read_bytes() == weights[1].read_bytes() != other.read_bytes()


def test_bfloat16_is_the_upper_half_of_a_float() -> None:
    values = array("f", [1.0, -2.0, 0.0])
    assert tinymodel.bfloat16(values) == b"".join(struct.pack("<f", value)[2:] for value in values)


def test_every_byte_has_a_letter_of_its_own() -> None:
    letters = tinymodel.byte_letters()
    assert len(set(letters)) == 256
    assert letters[ord("A")] == "A"
    assert letters[ord(" ")] == "Ġ"
