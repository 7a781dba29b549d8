"""Names of files come from strangers: what may become a path below the model's folder, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable

from app.downloader.errors import DownloadError
from app.kube.conditions import ErrorClass

MANIFEST = ".inference-manifest.json"
COMPONENT_BYTES = 255
"""NAME_MAX of every common file system."""
PATH_BYTES = 1024
MOST_FILES = 100_000
MOST_NAME_BYTES = 32 << 20
"""Of all names of a listing together."""


class Count:
    """Bounds a listing while it is read: an endless one must end before memory does."""

    def __init__(self) -> None:
        self._files = self._bytes = 0

    def add(self, name: str) -> None:
        """Raises a DownloadError when there are too many names, or too long ones."""
        self._files += 1
        self._bytes += len(name)
        if self._files > MOST_FILES or self._bytes > MOST_NAME_BYTES:
            raise too_many()


def too_many() -> DownloadError:
    message = (
        f"The source lists more than {MOST_FILES} files, or more than {MOST_NAME_BYTES >> 20} MiB of names: name the "
        "folder of one model."
    )
    return DownloadError(ErrorClass.CONFIGURATION, "ListingTooLong", message)


def safe_name(name: str) -> str:
    """The name itself, when it is a plain relative path of files; else a DownloadError that says what is wrong."""
    problem = problem_of(name)
    if problem:
        raise _unsafe(name, problem)
    return name


def check_names(names: Iterable[str]) -> None:
    """Every name is safe, none comes twice, and none is both a file and a folder."""
    seen: set[str] = set()
    count = Count()
    for name in names:
        if safe_name(name) in seen:
            raise _unsafe(name, "comes twice")
        seen.add(name)
        count.add(name)
    folders = {"/".join(parts[:end]) for name in seen for parts in [name.split("/")] for end in range(1, len(parts))}
    for name in sorted(folders & seen):
        raise _unsafe(name, "is both a file and a folder")


def problem_of(name: str) -> str:
    """What is wrong with a name; "" when nothing is."""
    parts = name.split("/")
    if not name or name.startswith("/"):
        return "is absolute or empty"
    if "\\" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "has a backslash or a control character"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty part, '.' or '..'"
    if MANIFEST in parts:
        return "is the manifest's own name"
    return _too_long(name, parts)


def _too_long(name: str, parts: list[str]) -> str:
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return "is no valid text"
    if longest > COMPONENT_BYTES or len(name.encode()) > PATH_BYTES:
        return f"is longer than {COMPONENT_BYTES} bytes a part or {PATH_BYTES} in all"
    return ""


def _unsafe(name: str, problem: str) -> DownloadError:
    shown = name[:100].encode("unicode_escape").decode()
    return DownloadError(
        ErrorClass.PERMANENT, "UnsafeName", f"File name {shown!r} of the source {problem}; it is not taken."
    )
