"""What a source has, before anything is fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from app.downloader.names import check_names
from app.downloader.partial_file import PartialFile


@dataclass(frozen=True)
class Checksum:
    """A hash of a file's content: `algorithm` is sha256, git-sha1, md5, crc32c or crc32, `value` is hexadecimal."""

    algorithm: str
    value: str


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source."""

    name: str
    """Path below the model's folder."""
    size: int | None
    """Bytes; None = the source does not say."""
    identity: str
    """Changes whenever the content does: hash, ETag, generation; "" where the source says nothing."""
    checksum: Checksum | None = None
    """None = the source gives none."""
    locator: str = ""
    """What the source finds it by: URL or key. May hold a secret, so it is never shown."""
    origin: str = ""
    """A hash of where it is and of what that place calls its content: equal ones are the same bytes. "" = the source
    has no word that is so sure."""

    @property
    def has_no_identity(self) -> bool:
        """Whether the source tells nothing by which another content could be known."""
        return not self.identity and self.checksum is None

    @property
    def key(self) -> str:
        """Name of its unfinished part: another content is another part."""
        return digest(self.name, str(self.size), self.identity)


@dataclass(frozen=True)
class Listing:
    """All files, and what the source calls this content."""

    revision: str
    files: tuple[RemoteFile, ...]
    extract: bool = False
    """The one file is an archive, and its content is the model."""
    folder: str = ""
    """Where the content should stand; "" = at the path. A copy stands where its original does."""
    known_digest: str = ""
    """The original's, for a copy."""

    @property
    def total(self) -> int:
        """Bytes, as far as sizes are known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def has_no_identity(self) -> bool:
        """Whether a change of some file would not be seen here."""
        return any(file.has_no_identity for file in self.files)

    @property
    def digest(self) -> str:
        """Eight letters that change whenever any content does, as far as the source tells."""
        if self.known_digest:
            return self.known_digest
        rows = sorted(f"{file.name}\0{file.size}\0{file.identity}" for file in self.files)
        return digest(*rows, str(self.extract))[:8]


class Source(Protocol):
    """Where a model comes from. All failures are DownloadErrors."""

    def validate(self) -> None:
        """Refuse at once, without the network, what cannot work."""

    def size(self) -> Listing:
        """Ask the source what it has; refused are missing and forbidden ones."""

    def download(self, file: RemoteFile, part: PartialFile) -> None:
        """Append to the part what it lacks of the file. Called from several threads at once."""

    def close(self) -> None:
        """Let go of connections."""

    @property
    def identity(self) -> str:
        """What people call this source; never a secret."""


def digest(*texts: str) -> str:
    """32 hexadecimal letters of a hash of these texts."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:32]


def build_listing(
    revision: str, files: Iterable[RemoteFile], *, extract: bool = False, folder: str = "", known_digest: str = ""
) -> Listing:
    """A listing whose names are all safe, in the order of names."""
    ordered = tuple(sorted(files, key=lambda file: file.name))
    check_names(file.name for file in ordered)
    return Listing(revision, ordered, extract, folder, known_digest)
