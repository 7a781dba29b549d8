"""Folders of the nodes: what a namespace may use, and how it is mounted.

The administrator allows a prefix, and in it makes a folder for each namespace that may have one. Only that folder is
ever mounted as a hostPath; what a ModelCache names below it is a subPath of the mount. The kubelet follows links in a
hostPath, so a link that somebody made there would lead anywhere on the node; a subPath that leads out of its volume it
refuses. And the folder of a namespace itself stands where only the administrator writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Folder:
    """A folder that may be mounted."""

    root: str
    """The namespace's folder: the hostPath."""
    below: str
    """The rest: the subPath; "" for the root itself."""


def home_folders(prefixes: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    """The folders that a namespace has below the prefixes; "/" is not a prefix."""
    return tuple(str(PurePosixPath(prefix) / namespace) for prefix in prefixes if namespace and prefix.strip("/"))


def find_folder(path: str, prefixes: tuple[str, ...], namespace: str) -> Folder | None:
    """The folder to mount for a path; None where the namespace may not use it. Whole names are compared."""
    asked = PurePosixPath(path)
    if ".." in asked.parts:
        return None
    for home in home_folders(prefixes, namespace):
        root = PurePosixPath(home)
        if asked == root or root in asked.parents:
            below = asked.relative_to(root)
            return Folder(home, str(below) if below.parts else "")
    return None
