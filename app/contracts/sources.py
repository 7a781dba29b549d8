"""Every source that a model may come from, declared once: its URIs, its credentials, and the servers that it asks.

From a declaration follow the pattern and the message of InferenceService's `spec.model.source`, the ModelCache that
such a URI makes, the rule and the type of `spec.source`, the container's variables and volumes, and what the downloader
expects of the Secret, hides from its log and lets an administrator name. Beside its declaration a source has a model of
its spec (app/api/v1alpha1/source.py) and a module that transfers it (app/downloader/sources/), both named by its type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SourceType(StrEnum):
    HUGGINGFACE = "huggingface"
    S3 = "s3"
    GCS = "gcs"
    HTTP = "http"


@dataclass(frozen=True)
class Credentials:
    """The Secret that a source may name: its keys by the variables that libraries look for."""

    values: Mapping[str, str] = field(default_factory=dict)
    """Variable -> key of the Secret whose value it holds."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Variable -> key of the Secret that it names as a file."""
    has_default: bool = False
    """Whether INFERENCE_TOKEN_SECRET is taken where the source names no Secret."""
    others: tuple[str, ...] = ()
    """Further variables that libraries take secrets from: never shown either."""

    @property
    def keys(self) -> dict[str, str]:
        """Variable -> key."""
        return {**self.values, **self.files}


@dataclass(frozen=True)
class Source:
    """One kind of source."""

    type: SourceType
    schemes: tuple[str, ...]
    """What its URIs begin with."""
    forms: tuple[str, ...]
    """How people write one."""
    pattern: str
    """RE2 for what is admitted. A URI that is admitted must make a ModelCache that is admitted too."""
    parse: Callable[[str], dict[str, object] | None]
    """URI -> the member of ModelCache's spec.source; None for what is not of this source."""
    credentials: Credentials = Credentials()
    endpoints: tuple[str, ...] = ()
    """Variables by which an administrator names another server: downloads may connect to it wherever it is."""


_REPOSITORY = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?"
_BUCKET = "[A-Za-z0-9][A-Za-z0-9._-]{2,221}"
HUB_SCHEMES = ("hf://", "huggingface://")
"""Two spellings of the Hugging Face Hub."""
_PAGE = re.compile(
    rf"https?://(www\.)?(huggingface\.co|hf\.co)/(?!(api|collections|datasets|docs|models|papers|spaces)(/|$))"
    rf"(?P<repository>{_REPOSITORY})(/tree/(?P<revision>[^\s?#]{{1,200}}?))?/?([?#]\S*)?"
)
"""A repository's page, as a browser shows its address."""


def parse_repository(text: str) -> tuple[str, str] | None:
    """Repository and revision ("" when none is named) of hf://organisation/name[@revision], or of the address of the
    repository's page; None for what is neither."""
    if page := _PAGE.fullmatch(text):
        return page["repository"], page["revision"] or ""
    name = hub_name(text)
    if name == text:
        return None
    repository, _, revision = name.partition("@")
    return repository, revision


def hub_id(name: str) -> tuple[str, str]:
    """Id of the Hub and revision ("" when none is named) that a model's name stands for where nothing else says where
    its weights are. No id has an @."""
    if found := parse_repository(name):
        return found
    repository, _, revision = name.partition("@")
    return repository, revision


def hub_name(text: str) -> str:
    """A repository of the Hub without the scheme that people write before it."""
    prefix = next((it for it in HUB_SCHEMES if text.startswith(it)), "")
    return text.removeprefix(prefix).rstrip("/") if prefix else text


def _huggingface(uri: str) -> dict[str, object] | None:
    if (found := parse_repository(uri)) is None:
        return None
    repository, revision = found
    return {"repository": repository, "revision": revision or "main"}


def _bucket(scheme: str, folder: str) -> Callable[[str], dict[str, object] | None]:
    """`folder` is the field for what follows the bucket."""

    def parse(uri: str) -> dict[str, object] | None:
        if not uri.startswith(scheme):
            return None
        bucket, _, key = uri.removeprefix(scheme).partition("/")
        return {"bucket": bucket, **({folder: key} if key else {})}

    return parse


def _http(uri: str) -> dict[str, object] | None:
    return {"url": uri} if uri.startswith(("http://", "https://")) else None


SOURCES = (
    Source(
        SourceType.HUGGINGFACE,
        schemes=HUB_SCHEMES,
        forms=("hf://organisation/name", "hf://organisation/name@revision"),
        pattern=rf"(hf|huggingface)://{_REPOSITORY}(@[^\s]{{1,200}})?/?",
        parse=_huggingface,
        credentials=Credentials({"HF_TOKEN": "token"}, has_default=True),
        endpoints=("HF_ENDPOINT",),
    ),
    Source(
        SourceType.S3,
        schemes=("s3://",),
        forms=("s3://bucket/folder",),
        pattern=rf"s3://{_BUCKET}/.{{1,1000}}",
        parse=_bucket("s3://", "key"),
        credentials=Credentials(
            {"AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY"},
            others=("AWS_SESSION_TOKEN",),
        ),
        endpoints=("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    ),
    Source(
        SourceType.GCS,
        schemes=("gs://",),
        forms=("gs://bucket/folder",),
        pattern=rf"gs://{_BUCKET}(/.{{0,1000}})?",
        parse=_bucket("gs://", "prefix"),
        credentials=Credentials(files={"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}),
        endpoints=("STORAGE_EMULATOR_HOST",),
    ),
    # The last: the address of a repository's page is the repository.
    Source(
        SourceType.HTTP,
        schemes=("http://", "https://"),
        forms=("the URL of a file",),
        pattern=r"https?://[^\s]+",
        parse=_http,
    ),
)
"""In the order in which a URI is read and people are told."""


def _listed(items: tuple[str, ...]) -> str:
    return " or ".join((", ".join(items[:-1]), items[-1]))


BY_TYPE = {it.type: it for it in SOURCES}
TYPES = _listed(tuple(SourceType))
"""For messages: huggingface, s3, gcs or http."""
SECRET_KEYS = {it.type: it.credentials.keys for it in SOURCES}
"""Source type -> variable -> key of the Secret. Those of `credentials.files` name a file, the others hold values."""
PREFIXES = tuple(scheme for it in SOURCES for scheme in it.schemes)
SOURCE_PATTERN = rf"^({'|'.join(it.pattern for it in SOURCES)})$"
SOURCE_MESSAGE = (
    f"source must begin with {_listed(PREFIXES)}: write {_listed(tuple(form for it in SOURCES for form in it.forms))}"
)


def check_source(uri: str) -> str:
    """The URI itself; ValueError names the prefixes, for nobody reads a regular expression."""
    if not re.fullmatch(SOURCE_PATTERN, uri):
        raise ValueError(SOURCE_MESSAGE)
    return uri


def parse_source(uri: str) -> dict[str, object]:
    """A URI as ModelCache's spec.source; empty for what no source admits."""
    found = ((it.type, it.parse(uri)) for it in SOURCES)
    return next(({"type": kind.value, kind.value: member} for kind, member in found if member is not None), {})
