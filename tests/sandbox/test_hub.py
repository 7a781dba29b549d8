"""The model hub against the library that it must satisfy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, close_session, hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from tools.sandbox.hub import Hub
from tools.sandbox.tinymodel import write_model

NAME = "sandbox/tiny"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub.serve({NAME: write_model(tmp_path / "model")}) as running:
        yield running
        close_session()  # the library's, for the whole process: the next user may have other settings of TLS


def test_a_repository_is_listed_with_sizes_and_hashes(hub: Hub) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info(NAME, files_metadata=True)
    repository = hub.repositories[NAME]
    assert info.sha == repository.commit
    files = {it.rfilename: it for it in info.siblings or []}
    assert sorted(files) == repository.files()
    weights = files["model.safetensors"]
    assert weights.size == (repository.folder / "model.safetensors").stat().st_size
    assert weights.lfs
    assert weights.lfs.sha256 == repository.sha256("model.safetensors")


def test_files_arrive_as_they_are(hub: Hub, tmp_path: Path) -> None:
    for name in hub.repositories[NAME].files():
        path = hf_hub_download(NAME, name, endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
        assert Path(path).read_bytes() == (hub.repositories[NAME].folder / name).read_bytes()


def test_a_download_can_be_resumed(hub: Hub) -> None:
    url = f"{hub.url}/{NAME}/resolve/main/config.json"
    content = (hub.repositories[NAME].folder / "config.json").read_bytes()
    answer = httpx2.get(url, headers={"Range": "bytes=10-"}, trust_env=False)
    assert answer.status_code == 206
    assert answer.content == content[10:]
    assert answer.headers["Content-Range"] == f"bytes 10-{len(content) - 1}/{len(content)}"


def test_what_is_not_there_is_refused_as_the_hub_does(hub: Hub) -> None:
    api = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("sandbox/other")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(NAME, revision="other")


def test_bodies_can_be_slowed_down(hub: Hub) -> None:
    hub.bytes_per_second = 10 * 2**20
    begun = time.monotonic()
    httpx2.get(f"{hub.url}/{NAME}/resolve/main/model.safetensors", trust_env=False, timeout=30)
    assert time.monotonic() - begun >= 0.4
