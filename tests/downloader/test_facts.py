"""What is read from the files: facts of each kind of architecture, totals of the weights, and what is no model."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from app.downloader.errors import DownloadError
from app.downloader.facts import inspect
from app.fit.catalog import find_model
from tests.downloader.models import LLAMA, model, safetensors
from tests.fit.configs import CONFIGS

CATALOGUE = sorted(json.loads(resources.files("app.fit").joinpath("models.json").read_text()))
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def write(folder: Path, files: dict[str, bytes]) -> list[str]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sorted(files)


def write_shard(path: Path, data_bytes: int) -> None:
    """A file whose one tensor has this many bytes; they are a hole, so it takes no space."""
    header = {"w": {"dtype": "U8", "shape": [data_bytes], "data_offsets": [0, data_bytes]}}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + data_bytes)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_model_on_disk_has_the_facts_of_the_catalogue(tmp_path: Path, name: str) -> None:
    facts = find_model(name)
    assert facts
    names = write(tmp_path, {"config.json": json.dumps(CONFIGS[name]).encode()})
    if facts.weight_bytes:
        for shard, size in zip(SHARDS, (facts.weight_bytes // 2, -(-facts.weight_bytes // 2)), strict=True):
            write_shard(tmp_path / shard, size)
        names = [*names, *SHARDS]
    assert inspect(tmp_path, names).facts == facts


def test_weights_are_counted_over_all_shards(tmp_path: Path) -> None:
    shards = [safetensors({"a": ("BF16", [10, 7])}), safetensors({"b": ("BF16", [5]), "c": ("F32", [3])})]
    index = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}}
    files = {**dict(zip(SHARDS, shards, strict=True)), INDEX: json.dumps(index).encode()}
    assert inspect(tmp_path, write(tmp_path, files)).parameters == 70 + 5 + 3


def test_a_shard_that_the_index_names_and_that_is_missing_is_said(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}).encode()
    names = write(tmp_path, {SHARDS[0]: safetensors({"a": ("BF16", [7])}), INDEX: index})
    with pytest.raises(DownloadError) as caught:
        inspect(tmp_path, names)
    assert (caught.value.error.reason, caught.value.exit_code) == ("IncompleteModel", 42)
    assert SHARDS[1] in caught.value.error.message


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "There is no config.json."),
        (b"[]", "no JSON object"),
        (b"{", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        (b"{}" + b" " * (17 << 20), "too large"),
        (b"{}", "architectures"),
        (json.dumps({**LLAMA, "architectures": ["NobodyKnowsThis"]}).encode(), "NobodyKnowsThis"),
    ],
)
def test_a_model_without_facts_says_why_and_is_a_model_all_the_same(
    tmp_path: Path, config: bytes | None, reason: str
) -> None:
    weights = {"model.safetensors": safetensors({"a": ("BF16", [7])})}
    summary = inspect(tmp_path, write(tmp_path, weights if config is None else {**weights, "config.json": config}))
    assert (summary.facts, summary.parameters) == (None, 7)
    assert reason in summary.unknown


@pytest.mark.parametrize("broken", [b"short", model()["model.safetensors"][:-1], (2**40).to_bytes(8, "little") + b"{}"])
def test_damaged_weights_are_refused(tmp_path: Path, broken: bytes) -> None:
    with pytest.raises(DownloadError) as caught:
        inspect(tmp_path, write(tmp_path, {**model(), "model.safetensors": broken}))
    assert (caught.value.error.reason, caught.value.exit_code) == ("BadWeights", 42)


def test_a_pointer_of_git_lfs_is_called_one(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    with pytest.raises(DownloadError, match="Git LFS pointer"):
        inspect(tmp_path, write(tmp_path, {"model.safetensors": pointer}))
