"""One writer a path: the kernel's lock on `.locks/<path>`, which ends with its holder, however that ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.downloader.classify import DENIED
from app.downloader.errors import DownloadError
from app.kube.conditions import ErrorClass

LOCK_SECONDS = 300.0
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS})
_MOUNT = "Mount it with locks: NFS 4, NFS 3 with lockd and rpc.statd on server and nodes, or Lustre with flock."
log = logging.getLogger(__name__)


@contextmanager
def locked(root: Path, path: str, wait: float = LOCK_SECONDS, *, needed: bool = True) -> Iterator[str]:
    """Be the only writer of this path; gives what its owner should know of a volume without locks, else "".

    Who only reads needs none where none can be made: a volume that may not be written has no writers here.
    """
    descriptor = _open_lock(root / ".locks", path, needed)
    try:
        yield "" if descriptor is None else _flock(descriptor, time.monotonic() + wait, path)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_lock(folder: Path, path: str, needed: bool) -> int | None:
    try:
        folder.mkdir(exist_ok=True)
        return os.open(folder / path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o664)
    except OSError as error:
        if needed or error.errno not in DENIED:
            raise
        log.info("this volume cannot be written to: it is read without a lock")
        return None


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
                raise DownloadError(ErrorClass.TRANSIENT, "Locked", message) from error
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


def _lock_refused(error: OSError) -> DownloadError:
    why = error.strerror or type(error).__name__
    message = f"The volume refuses file locks ({why}), and models are written under one. {_MOUNT}"
    return DownloadError(ErrorClass.EXTERNAL, "LockRefused", message)
