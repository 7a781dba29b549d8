"""A folder of a Google Cloud Storage bucket, by google-cloud-storage."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google.auth
import requests
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from urllib3.exceptions import HTTPError

from app.downloader.causes import find_known
from app.downloader.classify import (
    CONFIGURATION,
    changed_error,
    cut_error,
    status_error,
    system_error,
    timeout_error,
    unreachable_error,
)
from app.downloader.egress import MOST_REDIRECTS, Refused, require_url, trusted
from app.downloader.errors import DownloadError
from app.downloader.listing import Checksum, Listing, RemoteFile, build_listing, digest
from app.downloader.names import Count
from app.downloader.partial_file import PartialFile
from app.downloader.sources import fields

_KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_only"]
MOST_KEY = 1 << 20
"""Bytes; a Secret has no more."""
TIMEOUT = (15.0, 60.0)
"""Seconds to connect, and between two pieces."""
_ERRORS = (GoogleAPICallError, GoogleAuthError, InvalidResponse, DataCorruption, HTTPError, OSError)


class GCSSource:
    """Credentials: the file of GOOGLE_APPLICATION_CREDENTIALS, else the pod's workload identity, else none."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._bucket = fields.text(source, "bucket")
        self._prefix = (fields.maybe_text(source, "prefix") or "").lstrip("/")
        self._made: Any = None

    @property
    def identity(self) -> str:
        return f"gs://{self._bucket}/{self._prefix}"

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = storage.Client(project="none", credentials=_credentials())
            self._made._http.hooks["response"].append(_drain_refusal)
            self._made._http.max_redirects = MOST_REDIRECTS
            # It would ask for the bucket itself, from a thread of its own that nobody waits for, to name it in traces.
            self._made._bucket_metadata_cache = None
        return self._made

    def validate(self) -> None:
        try:
            _require_key_urls()
            assert self._client
        except Refused as error:
            raise self._as_download_error(error, self.identity) from error
        except (GoogleAuthError, ValueError, OSError) as error:
            message = f"{self.identity}: the service account's key file cannot be used: check credentialsSecret."
            raise DownloadError(CONFIGURATION, "Unauthorized", message) from error

    def size(self) -> Listing:
        try:
            blobs = self._client.list_blobs(
                self._bucket, prefix=self._prefix.rstrip("/") or None, timeout=TIMEOUT, retry=None
            )
            found, count = {}, Count()
            for blob in blobs:
                count.add(blob.name)
                found[blob.name] = blob
        except _ERRORS as error:
            raise self._as_download_error(error, self.identity) from error
        files = [_file(found[key], name) for key, name in fields.below(dict.fromkeys(found, 0), self._prefix).items()]
        if not files:
            raise fields.nothing(self.identity)
        return build_listing(digest(*sorted(f"{it.name} {it.identity}" for it in files)), files)

    def download(self, file: RemoteFile, part: PartialFile) -> None:
        generation, _, key = file.locator.partition(" ")
        blob = self._client.bucket(self._bucket).blob(key, generation=int(generation))
        begin = part.size
        try:
            with part.open() as target:
                blob.download_to_file(
                    target, start=begin or None, raw_download=True, checksum=None, timeout=TIMEOUT, retry=None
                )
        except _ERRORS as error:
            # An object that was written anew no longer has the generation that was listed.
            gone = _status(error) == 404
            raise (changed_error(file.name) if gone else self._as_download_error(error, file.name)) from error

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def _as_download_error(self, error: Exception, what: str) -> DownloadError:
        if known := find_known(error, what):
            return known
        match error:
            case NotFound() if what == self.identity:
                return DownloadError(
                    CONFIGURATION, "BucketNotFound", f"{what}: there is no such bucket: check its name."
                )
            case GoogleAPICallError(code=int(status)):
                return status_error(status, what, _retry_after(error))
            case InvalidResponse():
                return status_error(error.response.status_code, what, error.response.headers.get("Retry-After", ""))
            case GoogleAuthError() if _may_pass(error):
                return unreachable_error(what, "Google's token service")
            case GoogleAuthError():
                return DownloadError(
                    CONFIGURATION, "Unauthorized", f"{what}: Google refuses the credentials: renew them."
                )
            case requests.Timeout():
                return timeout_error(what)
            case requests.ConnectionError() if "Failed to establish" in str(error) or "resolve" in str(error):
                return unreachable_error(what, "no connection")
            case OSError(errno=int()) if not isinstance(error, requests.RequestException):
                return system_error(error, what)
        return cut_error(what)


def _drain_refusal(response: requests.Response, **_: Any) -> None:
    """Give the connection back: the libraries ask again, or raise, and leave an unread body to the collector."""
    if not response.ok:
        response.raw.drain_conn()


def _status(error: Exception) -> int:
    """HTTP status of an answer; 0 where the error is of another kind."""
    match error:
        case GoogleAPICallError(code=int(status)):
            return int(status)
        case InvalidResponse():
            return int(error.response.status_code)
    return 0


def _may_pass(error: GoogleAuthError) -> bool:
    """Whether it was the way to the token, or the service that gives it; google-auth wraps the one in the other."""
    cause = error if isinstance(error, TransportError) else error.__cause__
    if not isinstance(cause, TransportError):
        return bool(error.retryable)
    # An answer of the metadata service comes as the second argument; 4xx is about the account, not the way to it.
    status = getattr(cause.args[1], "status", 0) if len(cause.args) > 1 else 0
    return not 400 <= status < 500


def _credentials() -> Any:
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    if os.environ.get(_KEY_FILE):
        # Whoever wrote the file chose the addresses in it.
        return google.auth.default(scopes=_SCOPES)[0]
    try:
        with trusted():
            found = google.auth.default(scopes=_SCOPES)[0]
    except DefaultCredentialsError:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    renewed: Any = found
    renewed.refresh = trusted()(found.refresh)
    return renewed


def _require_key_urls() -> None:
    """Behind a proxy only the URLs in the key file tell where its tokens are asked for."""
    path = Path(os.environ.get(_KEY_FILE, ""))
    if not path.is_file() or path.stat().st_size > MOST_KEY:
        return
    for url in re.findall(r'"(https?:[^"]+)"', path.read_text(errors="replace").replace("\\/", "/")):
        require_url(url)


def _file(blob: Any, name: str) -> RemoteFile:
    checksum = _checksum(blob)
    identity = checksum.value if checksum else str(blob.generation)
    origin = digest("gcs", blob.bucket.name, blob.name, str(blob.generation))
    return RemoteFile(name, blob.size, identity, checksum, f"{blob.generation} {blob.name}", origin)


def _checksum(blob: Any) -> Checksum | None:
    for value, algorithm in ((blob.md5_hash, "md5"), (blob.crc32c, "crc32c")):
        if value:
            return Checksum(algorithm, base64.b64decode(value).hex())
    return None


def _retry_after(error: GoogleAPICallError) -> str:
    headers = getattr(error.response, "headers", None) or {}
    return str(headers.get("Retry-After", ""))


build = GCSSource
