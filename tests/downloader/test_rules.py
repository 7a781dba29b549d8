"""The pure parts: names, patterns, statuses, secrets, headers, settings."""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.downloader.archive import _without_common_folder
from app.downloader.checksums import file_checksum
from app.downloader.classify import parse_retry_after, row_of, status_error, system_error
from app.downloader.errors import DownloadError
from app.downloader.headers import HeaderError, parse_header, read_header
from app.downloader.listing import RemoteFile, build_listing
from app.downloader.names import check_names, safe_name
from app.downloader.patterns import Patterns, find_foreign_only, wanted
from app.downloader.task import parse_task
from app.log import redact
from tests.downloader.hub import git_sha1
from tests.downloader.models import safetensors

NAMES = (
    *("config.json", "tokenizer.model", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    *("model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"),
    *("flax_model.msgpack", "onnx/model.onnx", "original/params.json", "model-Q4.gguf", "README.md"),
)


@given(st.text(max_size=40))
def test_a_name_that_is_taken_stays_below_the_folder(name: str) -> None:
    try:
        safe_name(name)
    except DownloadError:
        return
    root = Path("/volume/model")
    assert root in (root / name).parents
    assert (root / name).as_posix() == f"/volume/model/{name}"


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"], [".inference-manifest.json"]])
def test_names_that_cannot_stand_together_are_refused(names: list[str]) -> None:
    with pytest.raises(DownloadError, match="UnsafeName"):
        check_names(names)


def test_only_the_best_format_is_wanted() -> None:
    assert wanted(NAMES, Patterns()) == [*NAMES[:5], "README.md"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin"]),
        (["model.gguf", "config.json"], ["model.gguf", "config.json"]),
        (["consolidated.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["consolidated.safetensors", "params.json"], ["consolidated.safetensors", "params.json"]),
        (["original/model.safetensors"], ["original/model.safetensors"]),
        (["config.json"], ["config.json"]),
        (["model.safetensors", "2_Dense/pytorch_model.bin"], ["model.safetensors", "2_Dense/pytorch_model.bin"]),
        (
            ["pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt", "onnx/model.onnx_data", "onnx/config.json"],
            ["pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt"],
        ),
        (["model.safetensors", "vocoder.pt"], ["model.safetensors", "vocoder.pt"]),
        (["model-00001-of-00002.safetensors", "consolidated.safetensors"], ["model-00001-of-00002.safetensors"]),
        (["model.safetensors", "consolidated.00.pth", "original/consolidated.00.pth"], ["model.safetensors"]),
        (["pytorch_model-00001-of-00002.bin", "consolidated.00.pth"], ["pytorch_model-00001-of-00002.bin"]),
        (
            ["a/model.safetensors", "a/pytorch_model.bin", "b/pytorch_model.bin"],
            ["a/model.safetensors", "b/pytorch_model.bin"],
        ),
        (["adapter_model.safetensors", "adapter_model.bin"], ["adapter_model.safetensors"]),
        (
            ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"],
            ["unet/diffusion_pytorch_model.safetensors"],
        ),
        (["v1.5.safetensors", "v1.6.ckpt"], ["v1.5.safetensors", "v1.6.ckpt"]),
        (["model.safetensors", "optimizer.pt", "rng_state_0.pth", "training_args.bin"], ["model.safetensors"]),
        (
            ["model.safetensors", "openvino/openvino_model.bin", "openvino_model.bin", "metal/model.bin"],
            ["model.safetensors"],
        ),
        (["model.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"], ["model.safetensors"]),
        (
            ["model_0.safetensors", "model_1.safetensors", "mtp.safetensors", "model.safetensors.index.json"],
            ["model_0.safetensors", "model_1.safetensors", "mtp.safetensors", "model.safetensors.index.json"],
        ),
        (["layer-1.safetensors", "pytorch_model.bin.index.json"], ["layer-1.safetensors"]),
        (
            ["model.safetensors.index.json", "pytorch_model-1-of-1.bin", "pytorch_model.bin.index.json"],
            ["pytorch_model-1-of-1.bin", "pytorch_model.bin.index.json"],
        ),
        (
            ["model.safetensors", "model.fp32-00001-of-00002.safetensors", "pytorch_model.fp16.bin"],
            ["model.safetensors"],
        ),
        (
            ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"],
            ["unet/diffusion_pytorch_model.safetensors"],
        ),
        (["model.fp16.safetensors", "config.json"], ["model.fp16.safetensors", "config.json"]),
        (
            [
                "model.safetensors",
                "m.engine",
                "gemma.litertlm",
                "a.mlmodelc/weights/weight.bin",
                "weights.npz",
                "x.pte",
            ],
            ["model.safetensors"],
        ),
        (
            ["pytorch_model.bin", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "saved_model.pb"],
            ["pytorch_model.bin"],
        ),
    ],
)
def test_formats_are_chosen_by_what_is_there(names: list[str], expected: list[str]) -> None:
    assert wanted(names, Patterns()) == expected


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["config.json", "model-Q4.gguf"], "GGUF"),
        (["onnx/model.onnx", "config.json"], "ONNX"),
        (["openvino_model.bin", "openvino_model.xml"], "OpenVINO"),
        (["weights.npz", "config.json"], "MLX"),
        (["rank0.engine", "config.json"], "TensorRT"),
        (["gemma.litertlm"], "Rust, TFLite, LiteRT, Core ML or NeMo"),
        (["params_shard_0.bin", "params_shard_1.bin", "mlc-chat-config.json"], "GGML or MLC"),
        (["model.gguf", "model.safetensors"], ""),
        (["tokenizer.json"], ""),
    ],
)
def test_weights_that_are_only_in_formats_of_others_are_known(names: list[str], title: str) -> None:
    assert find_foreign_only(names) == title


def test_exclude_goes_before_the_choice_of_formats() -> None:
    kept = wanted(NAMES, Patterns(exclude=("*.safetensors", "onnx/")))
    assert "pytorch_model.bin" in kept
    assert "model-00001-of-00002.safetensors" not in kept


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("GET https://user:pw@host/x?sig=abc#f failed", ("user", "pw", "abc")),
        ("token hf_abcdef is wrong", ("hf_abcdef",)),
        ("Authorization: Bearer xyz123", ("xyz123",)),
        ("s3://key:secret@bucket/path", ("secret",)),
        ("https://h/p?X-Amz-Signature=deadbeef' and more", ("deadbeef",)),
        ("https://me:it's-secret@host/x", ("it", "secret")),
        ("https://me:pa/ss@host/x", ("pa", "ss")),
        ('https://me:a"b@host/x', ("a", "b")),
        ("https://h/p?sv=1&sig=ab'cd&token=xyz", ("ab", "cd", "xyz")),
    ],
)
def test_secrets_are_redacted(text: str, secrets: tuple[str, ...]) -> None:
    shown = redact(text, {"HF_TOKEN": "hf_abcdef"})
    assert not [secret for secret in secrets if secret in shown]


@given(st.text(alphabet="abc:/@?&='\". ", max_size=60))
def test_no_user_part_survives_redaction(text: str) -> None:
    assert "SECRET" not in redact(f"https://user:SECRET@{text}", {})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host:8080/a/b.gguf: broken", "https://host:8080/a/b.gguf: broken"),
        ("https://me:pw@host/x", "https://***@host/x"),
        ("huggingface://org/tiny@main", "huggingface://org/tiny@main"),
    ],
)
def test_what_is_no_secret_stays(text: str, shown: str) -> None:
    assert redact(text, {}) == shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("999999999", 86_400),
        ("²", 0),
        ("٣", 0),
        ("9" * 5000, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    assert parse_retry_after(text, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("status", [*range(400, 430), 451, *range(500, 512), 599])
def test_every_failing_status_has_a_row_and_what_to_do(status: int) -> None:
    failure = status_error(status, "x")
    assert failure.exit_code == (1 if status in (408, 412, 416, 429) or status >= 500 else 42)
    assert row_of(status).advice in failure.error.message


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [(errno.ENOSPC, "VolumeTooSmall", 1), (errno.EROFS, "VolumeNotWritable", 42), (errno.EIO, "VolumeError", 1)],
)
def test_errors_of_the_volume_have_their_class(number: int, reason: str, code: int) -> None:
    failure = system_error(OSError(number, "text"), "x")
    assert (failure.error.reason, failure.exit_code) == (reason, code)


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("sha256", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
        ("md5", "5d41402abc4b2a76b9719d911017c592"),
        ("crc32", "3610a686"),
        ("crc32c", "9a71bb4c"),
        ("git-sha1", git_sha1(b"hello")),
    ],
)
def test_checksums_are_those_of_the_sources(tmp_path: Path, algorithm: str, value: str) -> None:
    (tmp_path / "f").write_bytes(b"hello")
    assert file_checksum(tmp_path / "f", algorithm).value == value


def header(**tensor: Any) -> bytes:
    return json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **tensor}}).encode()


def test_a_header_tells_parameters_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    file.write_bytes(safetensors({"a": ("BF16", [3, 4]), "b": ("F8_E4M3", [5]), "c": ("F32", [])}))
    found = read_header(file)
    assert (found.parameters, found.tensor_bytes) == (12 + 5 + 1, 24 + 5 + 4)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"w": 1}',
        header(shape=[3]),
        header(shape=[-2]),
        header(shape=[True, 2]),
        header(shape="2"),
        header(shape=[2**62, 2**62]),
        header(data_offsets=[0, 16]),
        header(data_offsets=[8, 0]),
        header(data_offsets=[4, 12]),
        header(data_offsets=[-8, 0]),
        header(data_offsets=[0]),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(raw: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(raw, 8, "m.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        (200_000_000).to_bytes(8, "little") + b"{}",
        (2**63).to_bytes(8, "little") + b"{}",
        (100).to_bytes(8, "little") + b"{}",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    ],
)
def test_a_file_that_is_no_whole_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "m.safetensors"
    file.write_bytes(content)
    with pytest.raises(HeaderError):
        read_header(file)


def test_a_header_too_large_to_parse_leaves_parameters_unknown(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    with file.open("wb") as target:
        target.write((50_000_000).to_bytes(8, "little"))
        target.truncate(8 + 50_000_000 + 10)
    assert read_header(file).parameters is None


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail_in_another_way(raw: bytes) -> None:
    try:
        parse_header(raw, 100, "m")
    except HeaderError:
        return


def test_a_listing_digest_changes_with_any_content_and_with_nothing_else() -> None:
    files = [RemoteFile("a", 1, "x", locator="u"), RemoteFile("b", 2, "y")]
    same = build_listing("other revision", [RemoteFile("b", 2, "y"), RemoteFile("a", 1, "x", locator="v")])
    assert build_listing("r", files).digest == same.digest
    changed = [RemoteFile("a", 1, "z"), RemoteFile("a", 3, "x"), RemoteFile("c", 1, "x")]
    assert same.digest not in {build_listing("r", [it, files[1]]).digest for it in changed}


@pytest.mark.parametrize(
    ("names", "inner"),
    [
        (["m/a", "m/b/c"], ["a", "b/c"]),
        (["./m/a"], ["a"]),
        (["a", "m/b"], ["a", "m/b"]),
        (["../a", "../b"], ["../a", "../b"]),
    ],
)
def test_one_folder_around_everything_is_dropped(names: list[str], inner: list[str]) -> None:
    assert _without_common_folder(names) == inner


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INFERENCE_MODEL_NAME", ""),
        ("INFERENCE_SOURCE", "no json"),
        ("INFERENCE_SOURCE", "[]"),
        ("INFERENCE_PATH", "../x"),
        ("INFERENCE_PATH", "a/b"),
        ("INFERENCE_PATH", ".staging"),
        ("INFERENCE_VOLUME", "relative"),
        ("INFERENCE_DOWNLOAD_POLICY", "Sometimes"),
        ("INFERENCE_KEEP_REVISIONS", "-1"),
        ("INFERENCE_VOLUME_BYTES", "50Gi"),
        ("INFERENCE_VOLUME_BYTES", "inf"),
        ("INFERENCE_COPY_FROM", "/nowhere/at/all"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, name: str, value: str) -> None:
    good = {
        "INFERENCE_MODEL_NAME": "m",
        "INFERENCE_SOURCE_TYPE": "http",
        "INFERENCE_SOURCE": "{}",
        "INFERENCE_PATH": "m-1",
        "INFERENCE_VOLUME": str(tmp_path),
    }
    assert parse_task(good).path == "m-1"
    with pytest.raises(DownloadError) as caught:
        parse_task({**good, name: value})
    assert name in caught.value.error.message
    assert caught.value.exit_code == 42
