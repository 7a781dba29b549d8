"""The volume: where unfinished parts lie, how a folder becomes visible, what is removed, and who may write.

    <path>/                 finished: has a manifest. Readers look here, or
    <path>@<digest>/        here, when the content changed while <path> was there already
    .current/<path>         name of the folder that was finished last
    .staging/<path>/parts/  unfinished files, named by their content
    .staging/<path>/whole/  finished files, named by their content: another listing may want them too
    .staging/<path>/<digest>/   a folder on its way: links to those
    .locks/<path>           locked by the one writer

A finished folder is renamed into place when everything in it is on disk, so readers see a whole model or none. Nothing
below a finished folder is ever written again.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.downloader import manifest as manifests
from app.downloader.classify import DENIED
from app.downloader.fault import Fault
from app.downloader.listing import Listing, RemoteFile, digest
from app.downloader.manifest import Entry, Manifest
from app.downloader.names import MANIFEST
from app.kube.conditions import ErrorClass

LOCK_SECONDS = 300.0
MARGIN = 16 << 20
"""Bytes that stay free: folders, manifests, and the file system's own."""
STALE_SECONDS = 14 * 86_400.0
"""Unfinished downloads of other folders are removed when nothing wrote to them for so long."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS})
_MOUNT = "Mount it with locks: NFS 4, NFS 3 with lockd and rpc.statd on server and nodes, or Lustre with flock."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """A folder that readers may read."""

    name: str
    manifest: Manifest


class Volume:
    """One model's place on a volume."""

    def __init__(self, root: Path, path: str, limit: int | None = None) -> None:
        self.root, self.path, self._limit = root, path, limit
        self._staging = root / ".staging" / path
        self.warning = ""
        """What its owner should know of this volume; "" = nothing."""

    @property
    def parts(self) -> Path:
        return self._staging / "parts"

    def staged(self, listing: Listing) -> Path:
        """Folder that the finished files of this listing come into at the end; earlier versions filled it by and by."""
        return self._staging / listing.digest

    def part(self, file: RemoteFile) -> Path:
        return self.parts / file.key

    def whole(self, file: RemoteFile) -> Path:
        """Where a file goes when it is finished."""
        return self._staging / "whole" / file.key

    def find_whole(self, listing: Listing, file: RemoteFile) -> Path | None:
        """Where the finished file is. Files come there verified and synced, so the name alone says that it is whole;
        the size is looked at anyway."""
        places = (self.whole(file), self.staged(listing) / file.name)
        return next((it for it in places if it.is_file() and file.size in (None, _size(it))), None)

    def assemble(self, listing: Listing) -> Path:
        """The staged folder with all files in it, each of which is finished."""
        for file in listing.files:
            there, target = self.find_whole(listing, file), self.staged(listing) / file.name
            if there is not None and there != target:
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_move(there, target)
        return self.staged(listing)

    def unpacked(self, listing: Listing) -> Path:
        """Folder for an archive's content."""
        return self._staging / f"{listing.digest}.unpacked"

    def current(self) -> Finished | None:
        """The folder that was finished last, if it still is one."""
        with suppress(OSError):
            name = (self.root / ".current" / self.path).read_text()
            if self.is_ours(name) and (found := self.find(name)):
                return found
        return self.find(self.path)

    def find(self, name: str) -> Finished | None:
        found = manifests.read(self.root / name)
        return Finished(name, found) if found else None

    def with_content(self, content: str) -> Finished | None:
        """A finished folder of exactly this content (Listing.digest) whose files have their sizes."""
        for name in (self.path, f"{self.path}@{content}"):
            found = self.find(name)
            if found and found.manifest.digest == content and self._has_sizes(found):
                return found
        return None

    def with_files(self, entries: Sequence[Entry]) -> Finished | None:
        """A finished folder of this path that has these very files, by their hashes."""
        wanted = {(it.name, it.checksum) for it in entries}
        same = (it for it in self.siblings() if {(file.name, file.checksum) for file in it.manifest.files} == wanted)
        return next((it for it in same if self._has_sizes(it)), None)

    def siblings(self) -> list[Finished]:
        """All finished folders of this path."""
        return [found for name in self._folders() if self.is_ours(name) and (found := self.find(name))]

    def finished(self) -> list[Finished]:
        """All finished folders of this volume, whoever made them."""
        return [found for name in self._folders() if (found := self.find(name))]

    def _folders(self) -> list[str]:
        return [it.name for it in _entries(self.root) if not it.name.startswith(".") and not it.is_symlink()]

    def publish(self, staged: Path, manifest: Manifest, folder: str = "") -> Finished:
        """Make the staged folder visible, whole; the name is that folder's, or one beside it when that is taken."""
        write_durably(staged / MANIFEST, manifests.to_json(manifest))
        sync_folders(staged)
        name = folder if self.is_ours(folder) else self.path
        if os.path.lexists(self.root / name):
            name = f"{self.path}@{manifest.digest}"
        if os.path.lexists(self.root / name):
            # Damaged, else it would have been taken as it is. Readers keep what they have open.
            self._discard(self.root / name)
        staged.rename(self.root / name)
        sync_folder(self.root)
        self.point_to(name)
        return Finished(name, manifest)

    def point_to(self, name: str) -> None:
        """Make this finished folder the current one."""
        (self.root / ".current").mkdir(exist_ok=True)
        write_durably(self.root / ".current" / self.path, name)

    def need(self, listing: Listing, linked: Set[RemoteFile] = frozenset()) -> int:
        """Bytes that are still to be written; `linked` are files that are on the volume already."""
        left = sum(self._missing(listing, file) for file in listing.files if file not in linked)
        # Unpacking needs the archive and its content at once; the content is at least as large.
        return left + (listing.total if listing.extract else 0)

    def free(self) -> int:
        """Bytes that may still be written."""
        free = free_bytes(self.root)
        return free if self._limit is None else min(free, self._limit - used_bytes(self.root))

    def require_space(self, listing: Listing, linked: Set[RemoteFile] = frozenset()) -> None:
        """Refuse when what is missing does not fit."""
        need, free = self.need(listing, linked) + MARGIN, self.free()
        if need > free:
            message = (
                f"The volume is too small by {human(need - free)}: {human(need)} are still to be written, "
                f"{human(free)} are free; enlarge it (spec.size) or remove what else is on it."
            )
            raise Fault(ErrorClass.RESOURCE, "VolumeTooSmall", message)

    def clean_staging(self, keep: Listing) -> None:
        """Remove unfinished files that this listing has no use for.

        A file of which the source tells nothing may be another now when anything else is.
        """
        again = self.staged(keep).is_dir()
        _remove_others(self.parts, {file.key for file in keep.files})
        _remove_others(self._staging / "whole", {file.key for file in keep.files if again or not file.is_blind})
        _remove_others(self._staging, {"parts", "whole", keep.digest})
        self.staged(keep).mkdir(parents=True, exist_ok=True)

    def discard_staged(self, folder: Path) -> None:
        """Remove what a killed run left half unpacked."""
        _remove(folder)

    def drop_staging(self) -> None:
        _remove(self._staging)
        _remove(self._trash)

    def prune(self, model: str, cache: str, keep: int, published: str) -> list[str]:
        """Remove the oldest finished folders that this cache made of this model beyond `keep`, never the published one.

        Another cache may have the same model on this volume, at another revision, and pods that read it.
        """
        others = [found for found in self.finished() if found.name != published]
        same = sorted((it for it in others if self._made_by(cache, model, it)), key=_age, reverse=True)
        for old in same[keep:]:
            log.info("removing %s: %d other finished folders of this model are kept", old.name, keep)
            self._discard(self.root / old.name)
        return [old.name for old in same[keep:]]

    def clean_stale(self, now: float) -> None:
        """Remove downloads of other folders that were left unfinished long ago and that nobody works at."""
        for entry in _entries(self.root / ".staging"):
            if entry.name != self.path and now - _newest(entry) > STALE_SECONDS:
                with suppress(Fault), Volume(self.root, entry.name).lock(wait=0.0):
                    log.info("removing unfinished download %s: untouched for two weeks", entry.name)
                    _remove(entry)

    @contextmanager
    def lock(self, wait: float = LOCK_SECONDS, *, needed: bool = True) -> Iterator[None]:
        """Be the only writer of this path. The kernel lets go when the holder dies, however it dies.

        Who only reads needs none where none can be made: a volume that may not be written has no writers here.
        """
        descriptor = self._open_lock(needed)
        try:
            if descriptor is not None:
                self.warning = _flock(descriptor, time.monotonic() + wait, self.path)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open_lock(self, needed: bool) -> int | None:
        folder = self.root / ".locks"
        try:
            folder.mkdir(exist_ok=True)
            return os.open(folder / self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o664)
        except OSError as error:
            if needed or error.errno not in DENIED:
                raise
            log.info("this volume cannot be written to: it is read without a lock")
            return None

    @property
    def _trash(self) -> Path:
        return self.root / ".trash" / self.path

    def _discard(self, folder: Path) -> None:
        """Take a folder out of sight in one step, then remove it."""
        self._trash.mkdir(parents=True, exist_ok=True)
        hidden = self._trash / digest(folder.name, str(time.time_ns()))
        folder.rename(hidden)
        _remove(hidden)

    def is_ours(self, name: str) -> bool:
        """Whether a folder is this path, or another content of it."""
        base, separator, content = name.partition("@")
        return base == self.path and (not separator or content.isalnum())

    def _has_sizes(self, found: Finished) -> bool:
        return not manifests.damaged(self.root / found.name, found.manifest)

    def _made_by(self, cache: str, model: str, found: Finished) -> bool:
        """A manifest that names no cache is of an earlier version: its folder is ours where the path is."""
        maker = found.manifest.cache
        return found.manifest.model == model and (maker == cache if maker else self.is_ours(found.name))

    def _missing(self, listing: Listing, file: RemoteFile) -> int:
        if file.size is None or self.find_whole(listing, file):
            return 0
        return max(0, file.size - (_size(self.part(file)) or 0))


def human(count: int) -> str:
    """Bytes as people read them."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def free_bytes(folder: Path) -> int:
    """What an unprivileged process may still write."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def used_bytes(folder: Path) -> int:
    """What the files below take; one with several names counts once."""
    places = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sum({(it.st_dev, it.st_ino): it.st_blocks * 512 for path in places if (it := _lstat(path))}.values())


def write_durably(path: Path, text: str) -> None:
    """Replace a file by this text in one step that survives a power cut."""
    partial = path.with_name(f".{path.name}.new")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


sync_folder = sync_file


def sync_folders(root: Path) -> None:
    """The names in a folder and all below it are on disk."""
    for folder, _, _ in os.walk(root):
        sync_folder(Path(folder))


def _flock(descriptor: int, until: float, path: str) -> str:
    """What to tell of a volume that has no locks; "" when it is locked."""
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return ""
        except BlockingIOError as error:
            if time.monotonic() >= until:
                message = f"Another downloader is writing {path} on this volume; it is tried again when that is done."
                raise Fault(ErrorClass.TRANSIENT, "Locked", message) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise _lock_refused(error) from error
            warning = f"The volume has no file locks ({error.strerror}): only one ModelCache may write to it. {_MOUNT}"
            log.warning("%s", warning)
            return warning
        if not said:
            log.info("another downloader is writing %s: waiting for it", path)
            said = True
        time.sleep(0.2)


def _lock_refused(error: OSError) -> Fault:
    why = error.strerror or type(error).__name__
    message = f"The volume refuses file locks ({why}), and models are written under one. {_MOUNT}"
    return Fault(ErrorClass.EXTERNAL, "LockRefused", message)


def link_or_move(source: Path, target: Path) -> None:
    """A second name for a file; where the file system has none, the other name."""
    try:
        os.link(source, target)
    except OSError:
        source.rename(target)


def _remove_others(folder: Path, names: Set[str]) -> None:
    for entry in _entries(folder):
        if entry.name not in names:
            _remove(entry)


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


def _size(path: Path) -> int | None:
    found = _lstat(path)
    return found.st_size if found else None


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _newest(folder: Path) -> float:
    """When something below was last written."""
    times = [folder.lstat().st_mtime]
    for root, _, files in os.walk(folder):
        times.append(Path(root).lstat().st_mtime)
        for name in files:
            with suppress(OSError):
                times.append((Path(root) / name).lstat().st_mtime)
    return max(times)


def _age(found: Finished) -> str:
    return found.manifest.time


def _remove(path: Path) -> None:
    """Remove a file or a folder; what cannot be removed is said and left."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=_log_error)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error.strerror)


def _log_error(_: Callable[..., object], path: str, info: object) -> None:
    log.warning("cannot remove %s", path)
