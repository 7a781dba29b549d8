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
SOURCE_MESSAGE = (
    f"source must begin with {', '.join(PREFIXES[:-1])} or {PREFIXES[-1]}: write hf://organisation/name, "
    "hf://organisation/name@revision, s3://bucket/folder, gs://bucket/folder or the URL of a file"
)


def check_source(uri: str) -> str:
    """The URI itself; ValueError names the prefixes, for nobody reads a regular expression."""
    if not re.fullmatch(SOURCE_PATTERN, uri):
        raise ValueError(SOURCE_MESSAGE)
    return uri


def hub_name(text: str) -> str:
    """A repository of the Hub without the scheme that people write before it."""
    prefix = next((it for it in HUB_SCHEMES if text.startswith(it)), "")
    return text.removeprefix(prefix).rstrip("/") if prefix else text
