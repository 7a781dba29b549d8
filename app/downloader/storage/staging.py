"""Where files lie until they are published: unfinished parts, finished files, and the folder on its way.

.staging/<path>/parts/  unfinished files, named by their content
.staging/<path>/whole/  complete files, named by their content: another listing may want them too
.staging/<path>/<digest>/   a folder on its way: links to those
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from app.downloader.listing import Listing, RemoteFile
from app.downloader.storage.disk import link_or_move, remove, remove_others, size_of


class Staging:
    """The staging folder of one path."""

    def __init__(self, root: Path, path: str) -> None:
        self._folder = root / ".staging" / path

    @property
    def parts(self) -> Path:
        return self._folder / "parts"

    def staged(self, listing: Listing) -> Path:
        """Folder that the finished files of this listing come into at the end; earlier versions filled it by and by."""
        return self._folder / listing.digest

    def part(self, file: RemoteFile) -> Path:
        return self.parts / file.key

    def complete(self, file: RemoteFile) -> Path:
        """Where a file goes when it is finished."""
        return self._folder / "whole" / file.key

    def find_complete(self, listing: Listing, file: RemoteFile) -> Path | None:
        """Where the finished file is. Files come there verified and synced, so the name alone says that it is whole;
        the size is looked at anyway."""
        places = (self.complete(file), self.staged(listing) / file.name)
        return next((it for it in places if it.is_file() and file.size in (None, size_of(it))), None)

    def assemble(self, listing: Listing) -> Path:
        """The staged folder with all files in it, each of which is finished."""
        for file in listing.files:
            there, target = self.find_complete(listing, file), self.staged(listing) / file.name
            if there is not None and there != target:
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_move(there, target)
        return self.staged(listing)

    def unpacked(self, listing: Listing) -> Path:
        """Folder for an archive's content."""
        return self._folder / f"{listing.digest}.unpacked"

    def missing(self, listing: Listing, linked: Set[RemoteFile] = frozenset()) -> int:
        """Bytes that are still to be written; `linked` are files that are on the volume already."""
        left = sum(self._missing(listing, file) for file in listing.files if file not in linked)
        # Unpacking needs the archive and its content at once; the content is at least as large.
        return left + (listing.total if listing.extract else 0)

    def clean(self, keep: Listing) -> None:
        """Remove unfinished files that this listing has no use for.

        A file of which the source tells nothing may be another now when anything else is.
        """
        again = self.staged(keep).is_dir()
        remove_others(self.parts, {file.key for file in keep.files})
        remove_others(self._folder / "whole", {file.key for file in keep.files if again or not file.has_no_identity})
        remove_others(self._folder, {"parts", "whole", keep.digest})
        self.staged(keep).mkdir(parents=True, exist_ok=True)

    def discard(self, folder: Path) -> None:
        """Remove what a killed run left half unpacked."""
        remove(folder)

    def drop(self) -> None:
        remove(self._folder)

    def _missing(self, listing: Listing, file: RemoteFile) -> int:
        if file.size is None or self.find_complete(listing, file):
            return 0
        return max(0, file.size - (size_of(self.part(file)) or 0))
