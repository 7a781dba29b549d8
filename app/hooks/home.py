"""Answers stay at home: the last look at what goes into a hook, and at what comes out.

Metacontroller acts on answers with its own rights, which are usually all rights, and it gives a hook everything that
carries its parent's label, whoever made it. So, around each hook:

- An object that we would not have made is a stranger, whatever it is called. The hook does not see it and the answer
  leaves it out: Metacontroller removes it, and what is ours is made in its place at the next look.
- An answer holds children of the parent's own namespace only, of kinds that the controller lists, without pods that
  reach beyond their containers. Anything else is a bug, and no part of such an answer is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from app.ingress.allowed import without_code
from app.kube.lenient import text_at
from app.kube.manifest import Manifest, kind_key
from app.kube.privilege import Allowed, find_privileges
from app.metacontroller.protocol import SyncRequest, SyncResponse
from app.modelcache.volume import is_allowed
from app.settings import Settings

Key = tuple[str, str, str]


class StrayAnswerError(Exception):
    """An answer that would act where it must not: a bug. `reason` is namespace, kind or privilege."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Home:
    """What the children of one kind of parent may be."""

    is_ours: Callable[[str, Manifest], bool]
    """Whether a parent of this name would have made this child."""
    accounts: Callable[[str], tuple[str, ...]] = lambda _: ()
    """The ServiceAccounts that a parent of this name gives to its pods."""
    is_namespaced: bool = True


def sync_at_home(
    home: Home,
    sync: Callable[[SyncRequest, Settings, datetime], SyncResponse],
    request: SyncRequest,
    settings: Settings,
    now: datetime,
) -> SyncResponse:
    """The hook's answer to a request without strangers."""
    path = partial(is_allowed, prefixes=settings.host_path_prefixes)
    response = _at_home(home, request, path, lambda seen: sync(seen, settings, now))
    return response.model_copy(update={"children": [without_code(child, settings) for child in response.children]})


def finalize_at_home(home: Home, finalize: Callable[[SyncRequest], SyncResponse], request: SyncRequest) -> SyncResponse:
    """No settings are known here, so what mounts a folder of the nodes goes first; all of it goes anyway."""
    return _at_home(home, request, lambda _: False, finalize)


def _at_home(
    home: Home,
    request: SyncRequest,
    path: Callable[[str], bool],
    hook: Callable[[SyncRequest], SyncResponse],
) -> SyncResponse:
    allowed = Allowed(home.accounts(request.parent.name), path)
    strangers = {_key(child) for child in request.observed_children() if not _is_known(home, request, child, allowed)}
    response = hook(_without(request, strangers) if strangers else request)
    children = [child for child in response.children if _key(child) not in strangers]
    _check(home, request, children, allowed)
    return response.model_copy(update={"children": children}) if strangers else response


def _is_known(home: Home, request: SyncRequest, child: Manifest, allowed: Allowed) -> bool:
    return home.is_ours(request.parent.name, child) and not any(find_privileges(child, allowed))


def _without(request: SyncRequest, strangers: set[Key]) -> SyncRequest:
    """Kinds stay listed when nothing of them is left: that is how a hook knows what it may make."""
    kept: Mapping[str, Mapping[str, Manifest]] = {
        kind: {name: child for name, child in group.items() if _key(child) not in strangers}
        for kind, group in request.children.items()
    }
    return request.model_copy(update={"children": kept})


def _check(home: Home, request: SyncRequest, children: Iterable[Manifest], allowed: Allowed) -> None:
    for child in children:
        title = f"{child.get('kind')} {text_at(child, 'metadata', 'name')}"
        if not request.manages(kind_key(child)):
            raise StrayAnswerError("kind", f"{title} is of a kind that the controller does not list")
        if home.is_namespaced and text_at(child, "metadata", "namespace") != request.parent.namespace:
            raise StrayAnswerError("namespace", f"{title} is not in the namespace {request.parent.namespace}")
        for privilege in find_privileges(child, allowed):
            raise StrayAnswerError("privilege", f"{title} has {privilege}, which no plan of ours gives")


def _key(child: Manifest) -> Key:
    return kind_key(child), text_at(child, "metadata", "namespace"), text_at(child, "metadata", "name")
