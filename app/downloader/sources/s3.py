"""A folder of an S3 bucket, by boto3."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import boto3
from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from app.downloader.causes import find_known
from app.downloader.classify import (
    CONFIGURATION,
    cut_error,
    status_error,
    system_error,
    timeout_error,
    unreachable_error,
)
from app.downloader.egress import Refused, require_url, trusted
from app.downloader.errors import DownloadError
from app.downloader.listing import Checksum, Listing, RemoteFile, build_listing, digest
from app.downloader.names import Count, too_many
from app.downloader.partial_file import CHUNK, PartialFile
from app.downloader.sources import fields

_CODES = {
    "NoSuchBucket": ("BucketNotFound", "there is no such bucket: check its name, region and endpoint"),
    "NoSuchKey": ("NotFound", "there is nothing under this key: check it"),
    "InvalidAccessKeyId": ("Unauthorized", "the access key is not known: check credentialsSecret"),
    "SignatureDoesNotMatch": ("Unauthorized", "the secret key does not match: check credentialsSecret"),
    "ExpiredToken": ("Unauthorized", "the credentials have expired: renew them"),
    "PermanentRedirect": ("WrongRegion", "the bucket is in another region: set source.s3.region"),
    "AuthorizationHeaderMalformed": ("WrongRegion", "the bucket is in another region: set source.s3.region"),
    "InvalidObjectState": ("Archived", "the object is in an archive class: restore it first"),
}


MOST_PAGES = 2_000
"""Of a listing: a store has 1,000 keys on each, if it does not name the same place for ever."""
MOST_ANSWER = 16 << 20
"""Bytes of an answer that is no file: a page of keys of 1,024 bytes each, escaped and with all else, stays below."""


class S3Source:
    """Credentials: the environment, else the pod's workload identity, else none."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._bucket, self._key = fields.text(source, "bucket"), fields.text(source, "key").lstrip("/")
        self._region, self._endpoint = fields.maybe_text(source, "region"), fields.maybe_text(source, "endpoint")
        self._made: Any = None

    @property
    def identity(self) -> str:
        return f"s3://{self._bucket}/{self._key}"

    @property
    def _client(self) -> Any:
        if self._made is None:
            session = boto3.Session()
            anonymous = _find_credentials(session) is None
            self._made = session.client(
                "s3",
                region_name=self._region or session.region_name or "us-east-1",
                endpoint_url=self._endpoint,
                config=_config(anonymous, path_style=bool(self._endpoint)),
            )
            _bound_answers(self._made)
        return self._made

    def validate(self) -> None:
        try:
            if self._endpoint:
                require_url(self._endpoint)
            assert self._client
        except (BotoCoreError, Refused) as error:
            raise self._as_download_error(error, self.identity) from error
        except ValueError as error:
            raise fields.bad(f"{self.identity}: {error}.") from error

    def size(self) -> Listing:
        try:
            names = fields.below(self._list(), self._key)
            with ThreadPoolExecutor(8) as pool:
                files = list(pool.map(self._ask, names, names.values()))
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            raise self._as_download_error(error, self.identity) from error
        if not files:
            raise fields.nothing(self.identity)
        return build_listing(digest(*sorted(f"{it.name} {it.identity}" for it in files)), files)

    def download(self, file: RemoteFile, part: PartialFile) -> None:
        begin = part.size
        wanted = {"Range": f"bytes={begin}-"} if begin else {}
        try:
            answer = self._client.get_object(
                Bucket=self._bucket, Key=file.locator, IfMatch=f'"{file.identity}"', **wanted
            )
            with part.open() as target, closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(CHUNK):
                    target.write(chunk)
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            raise self._as_download_error(error, file.name) from error

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def _list(self) -> dict[str, int]:
        """Key -> bytes."""
        found: dict[str, int] = {}
        count = Count()
        for number, page in enumerate(self._pages()):
            if number > MOST_PAGES:
                raise too_many()
            for item in page.get("Contents", []):
                count.add(item["Key"])
                found[item["Key"]] = item["Size"]
        return found

    def _pages(self) -> Iterable[Mapping[str, Any]]:
        # One key is its own prefix, and so is the folder of that name.
        pages: Iterable[Mapping[str, Any]] = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._key.rstrip("/")
        )
        return pages

    def _ask(self, key: str, name: str) -> RemoteFile:
        """The list does not tell how an object is encrypted, and without that an ETag cannot be read."""
        head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        tag = head["ETag"].strip('"')
        origin = digest("s3", self._endpoint or "", self._bucket, key, tag)
        return RemoteFile(name, head["ContentLength"], tag, find_checksum(head), key, origin)

    def _as_download_error(self, error: Exception, what: str) -> DownloadError:
        if known := find_known(error, what):
            return known
        match error:
            case ClientError(response=response):
                return _client_error(response, what)
            case ConnectTimeoutError() | ReadTimeoutError():
                return timeout_error(what)
            case ConnectionClosedError() | ResponseStreamingError() | IncompleteReadError() | HTTPError():
                return cut_error(what)
            # Proxies, handshakes that were cut, and the pod's source of credentials may all be back in a minute.
            case exceptions.ConnectionError() | HTTPClientError():
                return unreachable_error(what, str(error))
            case CredentialRetrievalError() | MetadataRetrievalError():
                return unreachable_error(what, str(error))
            case OSError(errno=int()):
                return system_error(error, what)
            case BotoCoreError():
                return fields.bad(f"{what}: {error}.")
        return cut_error(what)


def _find_credentials(session: Any) -> Any:
    """Those of the environment or of the pod's identity; none of their addresses comes from the source."""
    with trusted():
        found = session.get_credentials()
    renew = getattr(found, "_refresh_using", None)
    if renew is not None:
        found._refresh_using = trusted()(renew)
    return found


def _bound_answers(client: Any) -> None:
    """The library reads an answer whole before it looks at it, and there are stores of strangers."""
    session = client._endpoint.http_session

    def send(request: Any, **_: Any) -> Any:
        is_file, request.stream_output = request.stream_output, True
        response = session.send(request)
        if not is_file or response.status_code >= 300:
            response._content = _read(response.raw)
        return response

    client.meta.events.register("before-send.s3", send)


def _read(body: Any) -> bytes:
    content = bytearray()
    for chunk in body.stream(CHUNK):
        content += chunk
        if len(content) > MOST_ANSWER:
            body.close()
            raise too_many()
    return bytes(content)


def find_checksum(head: Mapping[str, Any]) -> Checksum | None:
    """The best checksum of the whole object that S3 gives; a "-" marks one that was made of parts."""
    for name, algorithm in (("ChecksumSHA256", "sha256"), ("ChecksumCRC32C", "crc32c"), ("ChecksumCRC32", "crc32")):
        value = head.get(name, "")
        if value and "-" not in value:
            return Checksum(algorithm, base64.b64decode(value).hex())
    etag = head["ETag"].strip('"')
    # Encrypted with a key of KMS or the customer's, the ETag is no MD5.
    encrypted = head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head
    return None if encrypted or "-" in etag or len(etag) != 32 else Checksum("md5", etag)


def _client_error(response: Mapping[str, Any], what: str) -> DownloadError:
    code = str(response.get("Error", {}).get("Code", ""))
    meta = response.get("ResponseMetadata", {})
    if code in _CODES:
        reason, advice = _CODES[code]
        return DownloadError(CONFIGURATION, reason, f"{what}: {advice}.")
    if code in ("SlowDown", "Throttling", "RequestLimitExceeded"):
        return status_error(429, what)
    retry_after = meta.get("HTTPHeaders", {}).get("retry-after", "")
    return status_error(int(meta.get("HTTPStatusCode") or 500), what, retry_after)


def _config(anonymous: bool, path_style: bool) -> Config:
    unsigned = {"signature_version": UNSIGNED} if anonymous else {}
    return Config(
        # Our own retries go on where the file stopped.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=15,
        read_timeout=60,
        max_pool_connections=16,
        s3={"addressing_style": "path" if path_style else "auto"},
        # Ranges have no checksum of their own; the whole file is checked on disk.
        response_checksum_validation="when_required",
        **unsigned,
    )


build = S3Source
