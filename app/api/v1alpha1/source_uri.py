"""A source as one URI: what is admitted, and how that is told."""

from __future__ import annotations

import re

HUB_SCHEMES = ("hf://", "huggingface://")
"""Two spellings of the Hugging Face Hub."""
PREFIXES = (*HUB_SCHEMES, "s3://", "gs://", "http://", "https://")
# What ModelCache's own fields take: a source that is admitted here must make a cache that is admitted too.
_REPOSITORY = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?"
_BUCKET = "[A-Za-z0-9][A-Za-z0-9._-]{2,221}"
SOURCE_PATTERN = (
    rf"^((hf|huggingface)://{_REPOSITORY}(@[^\s]{{1,200}})?/?|s3://{_BUCKET}/.{{1,1000}}|gs://{_BUCKET}(/.{{0,1000}})?"
    r"|https?://[^\s]+)$"
)
_PAGE = re.compile(
    rf"https?://(www\.)?(huggingface\.co|hf\.co)/(?!(api|collections|datasets|docs|models|papers|spaces)(/|$))"
    rf"(?P<repository>{_REPOSITORY})(/tree/(?P<revision>[^\s?#]{{1,200}}?))?/?([?#]\S*)?"
)
"""A repository's page, as a browser shows its address."""
SOURCE_MESSAGE = (
    f"source must begin with {', '.join(PREFIXES[:-1])} or {PREFIXES[-1]}: write hf://organisation/name, "
    "hf://organisation/name@revision, s3://bucket/folder, gs://bucket/folder or the URL of a file"
)


def check_source(uri: str) -> str:
    """The URI itself; ValueError names the prefixes, for nobody reads a regular expression."""
    if not re.fullmatch(SOURCE_PATTERN, uri):
        raise ValueError(SOURCE_MESSAGE)
    return uri


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
