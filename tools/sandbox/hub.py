"""A server that speaks as much of the Hugging Face Hub's API as its library needs to download a repository.

One folder is one repository with one commit. Bodies may be slowed down, so that a small download takes long enough to
be watched. Ranges are honoured, as resumed downloads need.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.sandbox.api import Object
from tools.sandbox.serving import serving

CHUNK = 64 * 1024
_API = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+?)(/(?P<verb>revision|tree)/(?P<revision>[^/]+))?/?")
_FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


@dataclass(frozen=True)
class Repository:
    """A folder as the Hub shows it."""

    name: str
    folder: Path

    @cached_property
    def commit(self) -> str:
        """Of the content: another model is another commit."""
        return hashlib.sha1("".join(map(self.sha256, self.files())).encode()).hexdigest()

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def sha256(self, name: str) -> str:
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    def blob(self, name: str) -> str:
        """git's name for the content."""
        content = (self.folder / name).read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def is_large(self, name: str) -> bool:
        """Weights are kept beside git, with a SHA-256; other files in git."""
        return name.endswith(".safetensors")

    def siblings(self) -> list[Object]:
        return [self._sibling(name) for name in self.files()]

    def _sibling(self, name: str) -> Object:
        size = (self.folder / name).stat().st_size
        plain = {"rfilename": name, "size": size, "blobId": self.blob(name)}
        return plain | ({"lfs": self._large(name, size)} if self.is_large(name) else {})

    def tree(self) -> list[Object]:
        found = []
        for name in self.files():
            size = (self.folder / name).stat().st_size
            entry: Object = {"type": "file", "oid": self.blob(name), "size": size, "path": name}
            found.append(
                entry | ({"lfs": {"oid": self.sha256(name), **self._large(name, size)}} if self.is_large(name) else {})
            )
        return found

    def _large(self, name: str, size: int) -> Object:
        return {"sha256": self.sha256(name), "size": size, "pointerSize": 134}


class Hub:
    """A running server; `requests` tells what was asked, oldest first."""

    def __init__(
        self, address: str, port: int, repositories: Mapping[str, Path], bytes_per_second: float | None
    ) -> None:
        self.requests: list[str] = []
        self.bytes_per_second = bytes_per_second
        self.repositories = {name: Repository(name, folder) for name, folder in repositories.items()}
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_address[1]}"

    @classmethod
    @contextmanager
    def serve(
        cls,
        repositories: Mapping[str, Path],
        address: str = "127.0.0.1",
        port: int = 0,
        bytes_per_second: float | None = None,
    ) -> Iterator[Hub]:
        """Serve folders by their repository names until the block is left."""
        hub = cls(address, port, repositories, bytes_per_second)
        with serving(hub._server):
            yield hub


class _Handler(BaseHTTPRequestHandler):
    server_hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Silent: `Hub.requests` tells."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server_hub.requests.append(f"{self.command} {path}")
        if match := _API.fullmatch(path):
            self._describe(match["repository"], match["verb"] or "revision", match["revision"] or "main")
        elif match := _FILE.fullmatch(path):
            self._send_file(match["repository"], match["revision"], match["name"])
        else:
            self._refuse("EntryNotFound")

    def _find(self, name: str, revision: str) -> Repository | None:
        repository = self.server_hub.repositories.get(name)
        if repository is None:
            self._refuse("RepoNotFound", HTTPStatus.UNAUTHORIZED)
        elif revision not in ("main", repository.commit):
            self._refuse("RevisionNotFound")
        else:
            return repository
        return None

    def _describe(self, name: str, verb: str, revision: str) -> None:
        if repository := self._find(name, revision):
            if verb == "tree":
                return self._send_json(repository.tree())
            told = {"id": name, "modelId": name, "sha": repository.commit, "private": False, "gated": False, "tags": []}
            self._send_json(told | {"downloads": 0, "siblings": repository.siblings()})
        return None

    def _send_file(self, repository_name: str, revision: str, name: str) -> None:
        repository = self._find(repository_name, revision)
        if repository is None:
            return None
        if name not in repository.files():
            return self._refuse("EntryNotFound")
        content = (repository.folder / name).read_bytes()
        first = self._first_byte()
        self.send_response(HTTPStatus.PARTIAL_CONTENT if first else HTTPStatus.OK)
        etag = repository.sha256(name) if repository.is_large(name) else repository.blob(name)
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._finish(headers, content[first:])
        return None

    def _first_byte(self) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
        return int(asked[1]) if asked else 0

    def _send_json(self, content: object) -> None:
        self.send_response(HTTPStatus.OK)
        self._finish({"Content-Type": "application/json"}, json.dumps(content).encode(), slow=False)

    def _refuse(self, code: str, status: HTTPStatus = HTTPStatus.NOT_FOUND) -> None:
        self.send_response(status)
        self._finish({"X-Error-Code": code}, b"", slow=False)

    def _finish(self, headers: Mapping[str, str], body: bytes, slow: bool = True) -> None:
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(body), CHUNK):
            self.wfile.write(body[start : start + CHUNK])
            if slow and self.server_hub.bytes_per_second:
                time.sleep(CHUNK / self.server_hub.bytes_per_second)
