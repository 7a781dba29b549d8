"""Unpacking .tar, .tar.gz and .zip: plain files only, no name outside, no more than fits the volume."""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.downloader.classify import system_error
from app.downloader.errors import DownloadError
from app.downloader.names import MOST_FILES, check_names
from app.downloader.partial_file import PartialFile
from app.downloader.storage import MARGIN, human
from app.kube.conditions import ErrorClass

BLOCK = 4 << 20
Member = tuple[str, int, Callable[[], IO[bytes]]]
"""Name, size, and how to read it."""


def unpack(archive: Path, name: str, folder: Path, free: int, stop: threading.Event) -> list[str]:
    """Unpack into an empty folder of a volume that has so many bytes free.

    The names of the files, after a single folder around all of them was dropped.
    """
    try:
        with _members(archive, name) as members:
            if not members:
                raise _bad(f"{name} has no files in it: pack the model anew.")
            inner = _without_common_folder([member[0] for member in members])
            check_names(inner)
            _require_space(sum(member[1] for member in members), free)
            for (_, size, read), target in zip(members, inner, strict=True):
                _copy(read, PartialFile(folder / target, stop), size)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _bad(f"{name} is damaged or no archive of its kind ({type(error).__name__}); check it.") from error
    except OSError as error:
        raise system_error(error, f"unpacking {name}") from error
    return inner


@contextmanager
def _members(archive: Path, name: str) -> Iterator[list[Member]]:
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield list(_zip_members(opened))
    else:
        with tarfile.open(archive, "r:gz" if name.lower().endswith("gz") else "r:") as opened_tar:
            yield list(_tar_members(opened_tar))


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for item in archive.infolist():
        kind = item.external_attr >> 28
        if kind not in (0, 0o10, 0o4):
            raise _bad(f"{_shown(item.filename)} in the archive is no plain file: repack it without links.")
        if not item.is_dir():
            yield item.orig_filename, item.file_size, lambda item=item: archive.open(item)  # type: ignore[misc]


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for count, item in enumerate(archive):
        if count > 2 * MOST_FILES:
            raise _bad(f"The archive has more than {2 * MOST_FILES} members.")
        if item.isdir():
            continue
        if not item.isreg() or item.issparse():
            raise _bad(f"{_shown(item.name)} in the archive is no plain file: repack it without links.")
        yield item.name, item.size, lambda item=item: archive.extractfile(item)  # type: ignore[misc]


def _without_common_folder(names: list[str]) -> list[str]:
    plain = [name.removeprefix("./") for name in names]
    heads = {name.partition("/")[0] for name in plain}
    single = len(heads) == 1 and all("/" in name for name in plain) and heads.isdisjoint({"", ".", ".."})
    return [name.partition("/")[2] for name in plain] if single else plain


def _copy(read: Callable[[], IO[bytes]], part: PartialFile, size: int) -> None:
    """Never more than the archive announced."""
    with read() as content, part.open() as target:
        left = size
        while left and (block := content.read(min(BLOCK, left))):
            target.write(block)
            left -= len(block)
        if left or content.read(1):
            raise _bad(f"{_shown(part.path.name)} in the archive has not the size that the archive says.")


def _require_space(need: int, free: int) -> None:
    if need + MARGIN > free:
        message = (
            f"The volume is too small by {human(need + MARGIN - free)} for what the archive unpacks to "
            f"({human(need)}); enlarge it (spec.size)."
        )
        raise DownloadError(ErrorClass.RESOURCE, "VolumeTooSmall", message)


def _bad(message: str) -> DownloadError:
    return DownloadError(ErrorClass.PERMANENT, "BadArchive", message)


def _shown(name: str) -> str:
    return repr(name[:100])
