"""The finished folder of another volume, mounted read-only: a second copy without a second download."""

from __future__ import annotations

import os
from pathlib import Path

from app.downloader.classify import CONFIGURATION, TRANSIENT, system_error
from app.downloader.errors import DownloadError
from app.downloader.listing import Listing, RemoteFile, build_listing
from app.downloader.manifest import Entry
from app.downloader.partial_file import PartialFile
from app.downloader.storage import Finished, Volume

CHUNK = 4 << 20


class VolumeSource:
    """What another downloader finished; where it only verifies, also what people filled by hand there."""

    def __init__(self, root: Path, path: str, existing_model: str = "") -> None:
        self._root, self._path, self._existing_model = root, path, existing_model
        self._found: Finished | None = None

    @property
    def identity(self) -> str:
        return self._found.manifest.source if self._found else f"copy of {self._path}"

    def validate(self) -> None:
        if not self._root.is_dir():
            raise DownloadError(CONFIGURATION, "BadSource", "The volume to copy from is not mounted.")

    def size(self) -> Listing:
        self._found = self._find()
        if self._found is None:
            message = f"The volume to copy from has no finished {self._path}; it is tried again."
            raise DownloadError(TRANSIENT, "CopySourceMissing", message)
        manifest = self._found.manifest
        files = (_file(entry) for entry in manifest.files)
        return build_listing(manifest.revision, files, folder=self._found.name, known_digest=manifest.digest)

    def download(self, file: RemoteFile, part: PartialFile) -> None:
        assert self._found
        try:
            descriptor = os.open(self._root / self._found.name / file.name, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb", buffering=0) as content, part.open() as target:
                content.seek(part.size)
                while block := content.read(CHUNK):
                    target.write(block)
        except OSError as error:
            raise system_error(error, file.name) from error

    def close(self) -> None:
        pass

    def _find(self) -> Finished | None:
        folders = Volume(self._root, self._path).finished
        return folders.current() or (folders.describe_existing(self._existing_model) if self._existing_model else None)


def _file(entry: Entry) -> RemoteFile:
    return RemoteFile(entry.name, entry.size, entry.checksum.value, entry.checksum)
