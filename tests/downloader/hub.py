"""The part of the Hugging Face Hub's API that downloads use, as huggingface-hub 2.x speaks it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.downloader.server import Answer, Asked, ranged

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
LARGE = 4096
"""Files from this size on are LFS objects here, with a sha256."""


@dataclass
class Repository:
    files: dict[str, bytes]
    commit: str = "a" * 40
    gated: bool = False
    token: str = ""
    """Needed to see it."""


@dataclass
class Hub:
    repositories: dict[str, Repository] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=lambda: {"hf_valid"})

    def __call__(self, asked: Asked) -> Answer:
        path = urlsplit(asked.path).path
        match = _INFO.fullmatch(path) or _FILE.fullmatch(path)
        if not match:
            return Answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        token = asked.headers.get("authorization", asked.headers.get("Authorization", "")).removeprefix("Bearer ")
        if token and token not in self.tokens:
            return Answer(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        repository = self.repositories.get(match["repo"])
        if repository is None or (repository.token and token != repository.token):
            return Answer(401 if not token else 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if unquote(match["revision"] or "main") not in ("main", repository.commit):
            return Answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if "name" in match.groupdict():
            return self._file(asked, repository, unquote(match["name"]))
        return self._info(match["repo"], repository)

    def _info(self, name: str, repository: Repository) -> Answer:
        siblings = [_sibling(path, content) for path, content in repository.files.items()]
        info = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "tags": []}
        return Answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _file(self, asked: Asked, repository: Repository, name: str) -> Answer:
        if repository.gated:
            return Answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        if name not in repository.files:
            return Answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        content = repository.files[name]
        etag = hashlib.sha256(content).hexdigest() if len(content) >= LARGE else git_sha1(content)
        headers = {
            "X-Repo-Commit": repository.commit,
            "X-Linked-ETag": f'"{etag}"',
            "X-Linked-Size": str(len(content)),
        }
        answer = ranged(asked, content, f'"{etag}"', headers)
        return (
            Answer(200, b"", {**answer.headers, "Content-Length": str(len(content))})
            if asked.method == "HEAD"
            else answer
        )


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _sibling(path: str, content: bytes) -> dict[str, object]:
    sibling: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": git_sha1(content)}
    if len(content) >= LARGE:
        digest = hashlib.sha256(content).hexdigest()
        sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
    return sibling
