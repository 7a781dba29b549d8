"""Which objects a cache of a name would have made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.kube.lenient import text_at
from app.kube.manifest import Manifest
from app.kube.shape import FETCHER, binds, is_named, runs_only
from app.modelcache.names import access_name


def is_ours(cache: str, child: Manifest) -> bool:
    """Whether the cache would have made this child. A claim always counts: a model on it is never put at risk."""
    sign = _SIGNS.get(text_at(child, "kind"))
    return sign is not None and sign(cache, child)


def accounts(cache: str) -> tuple[str, ...]:
    """The account of the downloads."""
    return (access_name(cache),)


def _job(cache: str, child: Manifest) -> bool:
    return text_at(child, "metadata", "name").startswith(f"{cache}-download-") and runs_only(child, FETCHER)


_SIGNS: Mapping[str, Callable[[str, Manifest], bool]] = {
    "PersistentVolumeClaim": lambda _cache, _child: True,
    "Job": _job,
    "ServiceAccount": lambda cache, child: is_named(child, access_name(cache)),
    "Role": lambda cache, child: is_named(child, access_name(cache)),
    "RoleBinding": lambda cache, child: is_named(child, access_name(cache)) and binds(child, access_name(cache)),
}
