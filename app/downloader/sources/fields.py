"""Reading the JSON of spec.source: what is missing or of the wrong type is named by its field in a DownloadError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.downloader.errors import DownloadError
from app.kube.conditions import ErrorClass


def text(source: Mapping[str, Any], name: str) -> str:
    """A text that must be there."""
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise bad(f"source.{name} must be a text.")
    return value


def maybe_text(source: Mapping[str, Any], name: str) -> str | None:
    return text(source, name) if source.get(name) is not None else None


def texts(source: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """A list of texts; None when it is absent."""
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise bad(f"source.{name} must be a list of texts.")
    return tuple(value)


def bad(message: str) -> DownloadError:
    return DownloadError(ErrorClass.CONFIGURATION, "BadSource", message)


def nothing(what: str) -> DownloadError:
    message = f"{what} has no files to fetch: check path and patterns."
    return DownloadError(ErrorClass.CONFIGURATION, "NothingToDownload", message)


def folder_prefix(path: str) -> str:
    """The beginning of all keys below a folder of a bucket; "" is the whole bucket."""
    return f"{path.rstrip('/')}/" if path.strip("/") else ""


def below(keys: Mapping[str, int], path: str) -> dict[str, str]:
    """Key -> name below the folder, for bucket keys; `path` may also be exactly one key.

    Keys that end in / are the empty objects that consoles make for folders.
    """
    prefix = folder_prefix(path)
    names = {key: key.removeprefix(prefix) for key in keys if key.startswith(prefix) and not key.endswith("/")}
    return names or {key: key.rpartition("/")[2] for key in keys if key == path}
