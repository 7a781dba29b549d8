"""A repository of the Hugging Face Hub, by the huggingface-hub library.

The commit is resolved once and everything is fetched at it. The library's transfer of one file is used, not its
snapshot: since 2.x the latter throws away the parts of a killed download.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# Xet's own are 2 GB, 0.5 GB more for each file, and 8 GB at most, whatever the container may have.
os.environ.setdefault("HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_SIZE", "512mb")
os.environ.setdefault("HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_PERFILE_SIZE", "128mb")
os.environ.setdefault("HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT", "1gb")
os.environ.setdefault("HF_XET_DISABLE_MEMORY_DERIVED_DOWNLOAD_BUFFERS", "1")

import httpx2
from huggingface_hub import HfApi, close_session, constants, hf_hub_download, hf_hub_url, set_client_factory
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from app.downloader.classify import CONFIGURATION, row_of, status_error
from app.downloader.egress import MOST_REDIRECTS, require_url
from app.downloader.errors import DownloadError
from app.downloader.listing import Checksum, Listing, RemoteFile, build_listing
from app.downloader.names import Count, too_many
from app.downloader.partial_file import CHUNK, PartialFile
from app.downloader.patterns import Patterns, find_foreign_only, wanted
from app.downloader.sources import fields
from app.downloader.sources.http import transport_error

constants.DOWNLOAD_CHUNK_SIZE = CHUNK
"""The library's 10 MB would be lost at each cut, and held by each of our threads."""
TIMEOUT = 30.0
"""Seconds for an answer about the repository."""


MOST_ANSWER = 64 << 20
"""Bytes of an answer that is no file: the Hub tells some 300 of each file."""


class _Bounded(httpx2.SyncByteStream):
    """An answer that ends."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for chunk in self._body:
            count += len(chunk)
            if count > MOST_ANSWER:
                raise too_many()
            yield chunk

    def close(self) -> None:
        self._body.close()


def _bound_answer(response: httpx2.Response) -> None:
    if response.is_error or response.url.path.startswith("/api/"):
        response.stream = _Bounded(response.stream)


def _client() -> httpx2.Client:
    """As the library makes it, and with our bounds; how long each call may take it says with the call."""
    hooks = {"request": [lambda request: require_url(str(request.url))], "response": [_bound_answer]}
    return httpx2.Client(event_hooks=hooks, follow_redirects=True, max_redirects=MOST_REDIRECTS, timeout=None)


set_client_factory(_client)


class HuggingFaceSource:
    """One revision of one repository."""

    def __init__(self, source: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> None:
        self._repository = fields.text(source, "repository")
        self._revision = fields.maybe_text(source, "revision") or "main"
        self._patterns = Patterns(fields.texts(source, "include"), fields.texts(source, "exclude"))
        self._token = environment.get("HF_TOKEN", "").strip() or None
        self._endpoint = environment.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT
        self._commit = ""
        self.http_limit = int(constants.MAX_HTTP_DOWNLOAD_SIZE)
        """Bytes; larger files are not to be had by plain HTTP."""

    @property
    def identity(self) -> str:
        return f"huggingface://{self._repository}@{self._revision}"

    def validate(self) -> None:
        if self._token and any(letter.isspace() for letter in self._token):
            raise DownloadError(CONFIGURATION, "Unauthorized", "The token holds white space: store it without.")

    def size(self) -> Listing:
        api = HfApi(endpoint=self._endpoint, token=self._token or False)
        try:
            info = api.model_info(self._repository, revision=self._revision, files_metadata=True, timeout=TIMEOUT)
        except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OSError) as error:
            raise self._as_download_error(error) from error
        self._commit = info.sha or self._revision
        count = Count()
        for it in info.siblings or []:
            count.add(it.rfilename)
        siblings = {it.rfilename: it for it in info.siblings or []}
        names = wanted(list(siblings), self._patterns)
        if not names:
            raise fields.nothing(self.identity)
        if self._patterns.include is None and (title := find_foreign_only(names)):
            raise self._foreign(title)
        return build_listing(self._commit, (self._file(siblings[name]) for name in names))

    def download(self, file: RemoteFile, part: PartialFile) -> None:
        try:
            if (file.size or 0) > self.http_limit:
                self._download_large(file, part)
            else:
                self._download(file, part)
        except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise self._as_download_error(error, file.name) from error

    def close(self) -> None:
        close_session()

    def _download(self, file: RemoteFile, part: PartialFile) -> None:
        if file.size is None:
            # Nothing would tell whether the part is whole already.
            part.discard()
        # Compressed answers could not be resumed by position.
        headers = {**build_hf_headers(token=self._token or False), "Accept-Encoding": "identity"}
        url = hf_hub_url(self._repository, file.name, revision=self._commit, endpoint=self._endpoint)
        with part.open() as target:
            http_get(url, target, resume_size=part.size, headers=headers, expected_size=file.size)

    def _download_large(self, file: RemoteFile, part: PartialFile) -> None:
        """By the library's chunk protocol (Xet), which starts anew after a kill."""
        folder = part.path.with_suffix(".hub")
        done = hf_hub_download(
            self._repository,
            file.name,
            revision=self._commit,
            local_dir=folder,
            token=self._token or False,
            endpoint=self._endpoint,
        )
        Path(done).replace(part.path)

    def _file(self, it: RepoSibling) -> RemoteFile:
        checksum = _checksum(it)
        return RemoteFile(it.rfilename, it.size, checksum.value if checksum else self._commit, checksum)

    def _as_download_error(self, error: Exception, name: str = "") -> DownloadError:
        what = f"{self._repository}, file {name}" if name else f"Repository {self._repository}"
        match error:
            case GatedRepoError():
                return self._gated(what)
            case DisabledRepoError():
                return DownloadError(
                    CONFIGURATION, "RepositoryDisabled", f"{what} was disabled by the Hub: choose another."
                )
            case RevisionNotFoundError():
                return DownloadError(CONFIGURATION, "RevisionNotFound", f"{what} has no revision {self._revision!r}.")
            case RemoteEntryNotFoundError():
                return DownloadError(CONFIGURATION, "FileNotFound", f"{what} is not in the repository (any more).")
            case RepositoryNotFoundError():
                return self._not_found(what)
            case HFValidationError():
                return DownloadError(CONFIGURATION, "BadSource", f"{what}: the Hub's names do not look like this.")
            case HfHubHTTPError():
                return self._status_error(error, what)
        return transport_error(error, what)

    def _foreign(self, title: str) -> DownloadError:
        message = (
            f"Repository {self._repository} has its weights only as {title}, which vLLM on ROCm does not load: choose "
            "a repository with safetensors, or name the files in source.huggingface.include to fetch them all the same."
        )
        return DownloadError(CONFIGURATION, "FormatUnsupported", message)

    def _gated(self, what: str) -> DownloadError:
        terms = f"accept its terms at {self._endpoint}/{self._repository}"
        if self._token:
            advice = f"{terms} with the account of the token, then ask for a refresh"
        else:
            advice = (
                f"{terms}, store a token of that account under the key `token` of a Secret of this namespace, and name "
                "the Secret in source.huggingface.tokenSecret"
            )
        return DownloadError(CONFIGURATION, "GatedRepository", f"{what} is gated: {advice}.")

    def _not_found(self, what: str) -> DownloadError:
        """The Hub answers the same for what is not there and what one may not see."""
        who = "the token may not see it" if self._token else "it is private, and no token is given"
        message = f"{what} does not exist, or {who}: check name and tokenSecret."
        return DownloadError(CONFIGURATION, "RepositoryNotFound", message)

    def _status_error(self, error: HfHubHTTPError, what: str) -> DownloadError:
        status = error.response.status_code
        if status == 401:
            message = f"{what}: the Hub refuses the token; store a valid one under the key `token` of tokenSecret."
            return DownloadError(CONFIGURATION, row_of(status).reason, message)
        return status_error(status, what, error.response.headers.get("Retry-After", ""))


def _checksum(it: RepoSibling) -> Checksum | None:
    if it.lfs:
        return Checksum("sha256", it.lfs.sha256)
    return Checksum("git-sha1", it.blob_id) if it.blob_id else None


build = HuggingFaceSource
