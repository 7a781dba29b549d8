"""Files on a plain web server, and downloads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.downloader.errors import DownloadError
from tests.downloader.conftest import download
from tests.downloader.models import safetensors
from tests.downloader.server import Files, Server

Web = tuple[Files, Server]
WEIGHTS = safetensors({"w": ("F32", [1_000_000])})
FOLDER = "tiny-1234"


def source(web: Web, *names: str, **changes: Any) -> dict[str, Any]:
    urls = [f"{web[1].url}/models/{name}" for name in names]
    return {"url": urls[0], **changes} if len(urls) == 1 else {"urls": urls, **changes}


def host(web: Web, **files: bytes) -> None:
    web[0].contents.update({f"/models/{name}": content for name, content in files.items()})


def refused(volume: Path, asked: dict[str, Any], **changes: Any) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        download(volume, "http", asked, **{"retry_seconds": 0.1, **changes})
    assert not (volume / FOLDER).exists()
    return caught.value
