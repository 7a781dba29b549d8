"""Making the children in the cluster what the hook wants them to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tools.sandbox.api import Api, ApiError, Object, Resource, UnknownResourceError
from tools.sandbox.standin.informer import key_of
from tools.sandbox.standin.merge import apply_update, same, with_last_applied
from tools.sandbox.standin.related import group_key

Groups = dict[str, dict[str, Object]]  # `Kind.group/version` -> `namespace/name` -> object
KEEP = ("", "OnDelete")
SUPPORTED = (*KEEP, "Recreate", "InPlace")


class ChildrenError(Exception):
    """Some children could not be managed; the message names them all."""


@dataclass(frozen=True)
class Strategies:
    """Update method by (group, kind); the version does not matter."""

    methods: Mapping[tuple[str, str], str]

    def of(self, resource: Resource) -> str:
        return self.methods.get((_group(resource.api_version), resource.kind), "")


def read_strategies(children: list[Object], resources: Mapping[str, Resource]) -> Strategies:
    """`children`: the rules of a controller; `resources`: by plural and apiVersion, as the rules name them."""
    methods = {}
    for child in children:
        method = (child.get("updateStrategy") or {}).get("method", "")
        if method not in SUPPORTED:
            raise ChildrenError(f"the stand-in does not know update method {method!r} of {child['resource']}")
        resource = resources[f"{child['apiVersion']}/{child['resource']}"]
        methods[(_group(resource.api_version), resource.kind)] = method
    return Strategies(methods)


def group_children(children: list[Object]) -> Groups:
    groups: Groups = {}
    for child in children:
        groups.setdefault(group_key(child.get("apiVersion", ""), child["kind"]), {})[key_of(child)] = child
    return groups


def manage_children(api: Api, strategies: Strategies, parent: Object, observed: Groups, desired: Groups) -> None:
    """Delete what is not desired, then create and update. One failure does not stop the others."""
    errors = [str(error) for error in _manage(api, strategies, parent, observed, desired)]
    if errors:
        raise ChildrenError("; ".join(errors))


def _manage(api: Api, strategies: Strategies, parent: Object, observed: Groups, desired: Groups) -> Iterator[Exception]:
    for group in sorted(observed):
        for key, child in observed[group].items():
            if key not in desired.get(group, {}):
                yield from _attempt(partial(_delete, api, child))
    for group in sorted(desired):
        for key, child in desired[group].items():
            seen = observed.get(group, {}).get(key)
            yield from _attempt(partial(_apply, api, strategies, parent, seen, child))


def _attempt(action: Callable[[], object]) -> Iterator[Exception]:
    try:
        action()
    except (ApiError, UnknownResourceError) as error:
        yield error


def _swallow(action: Callable[[], object], *reasons: str) -> None:
    """Ignore refusals that the next sync deals with anyway."""
    try:
        action()
    except ApiError as error:
        if error.reason not in reasons:
            raise


def _apply(api: Api, strategies: Strategies, parent: Object, seen: Object | None, desired: Object) -> None:
    resource = api.resource(desired.get("apiVersion", ""), kind=desired["kind"])
    if seen is None:
        _create(api, resource, parent, desired)
    else:
        _update(api, resource, strategies.of(resource), seen, desired)


def _create(api: Api, resource: Resource, parent: Object, desired: Object) -> None:
    """An object of this name that is not ours stays as it is, without a word: so does Metacontroller leave it."""
    child = with_last_applied(desired, desired)
    child["metadata"]["ownerReferences"] = [
        *(child["metadata"].get("ownerReferences") or []),
        controller_reference(parent),
    ]
    _swallow(lambda: api.create(resource, child), "AlreadyExists")


def _update(api: Api, resource: Resource, method: str, seen: Object, desired: Object) -> None:
    updated = apply_update(seen, desired)
    if same(updated, seen) or seen["metadata"].get("deletionTimestamp") or method in KEEP:
        return
    if method == "Recreate":
        _delete(api, seen)
    else:
        _swallow(lambda: api.replace(resource, updated), "Conflict", "NotFound")


def _delete(api: Api, child: Object) -> None:
    metadata = child["metadata"]
    if not metadata.get("deletionTimestamp"):
        resource = api.resource(child["apiVersion"], kind=child["kind"])
        api.delete(resource, metadata["name"], metadata.get("namespace"), uid=metadata["uid"])


def controller_reference(parent: Object) -> Object:
    return {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]
