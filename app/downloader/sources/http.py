"""Files of web servers: ranges, and If-Range so that a resumed file is never a mixture of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2

from app.downloader.causes import find_known
from app.downloader.classify import (
    CONFIGURATION,
    PERMANENT,
    changed_error,
    cut_error,
    parse_count,
    status_error,
    system_error,
    timeout_error,
    unreachable_error,
)
from app.downloader.egress import MOST_REDIRECTS, require_url
from app.downloader.errors import DownloadError
from app.downloader.listing import Checksum, Listing, RemoteFile, build_listing, digest
from app.downloader.names import safe_name
from app.downloader.partial_file import CHUNK, PartialFile
from app.downloader.sources import fields

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
OTHER_ARCHIVES = (".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
_ASK_BY_GET = (403, 405, 501)
"""What servers answer to HEAD that have no such method; a URL signed for GET is forbidden to everything else."""
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "inference-operator-downloader"}


class HTTPSource:
    """One URL or several."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        url, urls = fields.maybe_text(source, "url"), fields.texts(source, "urls")
        self._urls = (url,) if url else urls or ()
        self._sha256 = fields.maybe_text(source, "sha256")
        self._extract = source.get("extract") is True
        self._client = httpx2.Client(
            headers=_HEADERS,
            follow_redirects=True,
            max_redirects=MOST_REDIRECTS,
            timeout=httpx2.Timeout(30.0),
            event_hooks={"request": [lambda request: require_url(str(request.url))]},
        )

    @property
    def identity(self) -> str:
        first = _bare(self._urls[0])
        return first if len(self._urls) == 1 else f"{len(self._urls)} files, first {first}"

    def validate(self) -> None:
        if not self._urls:
            raise fields.bad("source.http needs url or urls.")
        if (self._sha256 or self._extract) and len(self._urls) != 1:
            raise fields.bad("sha256 and extract belong to one url.")
        for url in self._urls:
            self._validate(url)

    def _validate(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise fields.bad(f"URL {url} does not begin with http:// or https://.")
        if not _is_whole(url):
            raise fields.bad(
                f"URL {url} has no host, or a port that is none: write / ? # in a password as %2F %3F %23."
            )
        name = safe_name(_name(url))
        if name.lower().endswith(OTHER_ARCHIVES) or (not self._extract and name.lower().endswith(ARCHIVES)):
            advice = "set source.http.extract to true" if name.lower().endswith(ARCHIVES) else "repack it as .tar.gz"
            raise DownloadError(
                CONFIGURATION, "ArchiveRefused", f"{name} is an archive, which vLLM cannot read: {advice}."
            )
        if self._extract and not name.lower().endswith(ARCHIVES):
            kinds = ", ".join(ARCHIVES)
            raise DownloadError(
                CONFIGURATION, "ArchiveRefused", f"{name} is none of {kinds}: extract cannot unpack it."
            )

    def size(self) -> Listing:
        files = [self._ask(url) for url in self._urls]
        revision = files[0].identity if len(files) == 1 else digest(*(file.identity for file in files))
        return build_listing(revision if any(file.identity for file in files) else "", files, extract=self._extract)

    def download(self, file: RemoteFile, part: PartialFile) -> None:
        if part.size and not (_validator(file) or self._sha256):
            # Nothing would tell whether the rest belongs to the beginning.
            part.discard()
        try:
            self._download(file, part)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise transport_error(error, file.name) from error

    def close(self) -> None:
        self._client.close()

    def _download(self, file: RemoteFile, part: PartialFile) -> None:
        begin = part.size
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        if begin and (validator := _validator(file)):
            headers["If-Range"] = validator
        with self._client.stream("GET", file.locator, headers=headers) as response:
            if response.status_code == 416:
                part.discard()
            _require(response, file.name)
            if file.size is None and not file.checksum and not _tells_its_end(response):
                raise _endless(file.name)
            if _validators(response) != file.identity:
                raise changed_error(file.name)
            if response.status_code != 206 and begin:
                part.discard()
            elif response.status_code == 206 and not _starts_at(response, begin):
                raise changed_error(file.name)
            with part.open() as target:
                for chunk in response.iter_raw(CHUNK):
                    target.write(chunk)

    def _ask(self, url: str) -> RemoteFile:
        what = _name(url)
        try:
            response = self._client.head(url)
            if response.status_code in _ASK_BY_GET:
                with self._client.stream("GET", url) as response:
                    pass
            _require(response, what)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise transport_error(error, what) from error
        if response.headers.get("Content-Type", "").lower().startswith("text/html") and not _is_page(what):
            raise fields.bad(
                f"{_bare(url)} answers with a page for a browser, not with a file: give the address of the file; for a "
                "repository of the Hugging Face Hub set source.type to huggingface."
            )
        length = parse_count(response.headers.get("Content-Length", ""))
        checksum = Checksum("sha256", self._sha256) if self._sha256 else None
        tag = response.headers.get("ETag", "")
        # A weak ETag, or a date, is the same for contents that differ a little.
        origin = digest("http", url, tag) if tag.startswith('"') else ""
        return RemoteFile(what, length, _validators(response), checksum, url, origin)


def _name(url: str) -> str:
    """The last part of the URL's path, as the server would name the file."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def _is_page(name: str) -> bool:
    return name.lower().endswith((".html", ".htm"))


def _bare(url: str) -> str:
    """The URL without what may be secret: user and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_whole(url: str) -> bool:
    """Whether there is a host, and the port, if any, is one: what stands before them may be half a password."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _validators(response: httpx2.Response) -> str:
    """What the server says the content is: its ETag, else when it was changed."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _validator(file: RemoteFile) -> str:
    """What If-Range may hold: no weak ETag."""
    return "" if file.identity.startswith("W/") else file.identity


def _starts_at(response: httpx2.Response, begin: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {begin}-")


def _require(response: httpx2.Response, what: str) -> None:
    if not response.is_success:
        raise status_error(response.status_code, what, response.headers.get("Retry-After", ""))
    if response.headers.get("Content-Encoding", "identity") != "identity":
        message = f"{what}: the server compresses it although it was asked not to; serve the file as it is."
        raise DownloadError(PERMANENT, "RequestRefused", message)


def _tells_its_end(response: httpx2.Response) -> bool:
    """Whether a body that was cut short is known for one."""
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return chunked or "Content-Length" in response.headers


def _endless(what: str) -> DownloadError:
    message = (
        f"{what}: the server does not say where the file ends, so half of it would count as whole; give sha256, or "
        "serve it with Content-Length."
    )
    return DownloadError(PERMANENT, "RequestRefused", message)


def transport_error(error: Exception, what: str) -> DownloadError:
    """The failure that an error below HTTP is, whatever source it came from; errors of the disk come this way too."""
    if known := find_known(error, what):
        return known
    match error:
        case httpx2.TimeoutException():
            return timeout_error(what)
        case httpx2.ConnectError() | httpx2.ProxyError():
            return unreachable_error(what, _why(error))
        case httpx2.TooManyRedirects() | httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            message = f"{what}: {_why(error)}; check the URL."
            return DownloadError(CONFIGURATION, "BadSource", message)
        case httpx2.HTTPError():
            return cut_error(what)
        case OSError(errno=int()):
            return system_error(error, what)
        case _:
            return cut_error(what)


def _why(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


build = HTTPSource
