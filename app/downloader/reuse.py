"""Files of finished folders that a listing has too: they need no network, and no second place on the disk."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.downloader.checksums import file_checksum
from app.downloader.listing import Checksum, RemoteFile
from app.downloader.storage import Finished

_STRONG = frozenset({"sha256", "git-sha1"})
"""Hashes that say the same of two files whoever made them."""


@dataclass(frozen=True)
class ReusableFile:
    """A file of a finished folder, for what did not change."""

    path: Path
    size: int
    checksum: Checksum | None = None
    """Its hash where the source has none to compare it with."""

    def is_there(self) -> bool:
        """Whether it is a file of its size; a shorter one would grow under its readers."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == self.size

    def is_right(self) -> bool:
        """Whether it still is what was downloaded, as far as it is not verified anyway."""
        return self.checksum is None or file_checksum(self.path, self.checksum.algorithm) == self.checksum


ReusableFiles = Mapping[Checksum | str, ReusableFile]
"""By hash, and by RemoteFile.origin."""


def index_reusable(root: Path, own: Sequence[Finished], others: Sequence[Finished]) -> ReusableFiles:
    """Files of finished folders, `own` ones of the path that is filled, by their hash and by their origin.

    32 bits of a CRC do not say that two files are the same, and an MD5 does not among strangers. What has no better
    hash is known by where it came from and what that place called its content.
    """
    files: dict[Checksum | str, ReusableFile] = {}
    for found, algorithms in [*((it, _STRONG) for it in others), *((it, _STRONG | {"md5"}) for it in own)]:
        for entry in found.manifest.files:
            path = root / found.name / entry.name
            if entry.from_source and entry.checksum.algorithm in algorithms:
                files[entry.checksum] = ReusableFile(path, entry.size)
            if entry.origin and "md5" in algorithms:
                files[entry.origin] = ReusableFile(path, entry.size, entry.checksum)
    return files


def find_reusable(files: ReusableFiles, file: RemoteFile) -> ReusableFile | None:
    """A file of a finished folder that is this one."""
    keys = (file.checksum, file.origin or None)
    found = (files[key] for key in keys if key is not None and key in files)
    return next((it for it in found if it.size == file.size and it.is_there()), None)
