"""One CompositeController: its own objects, their children and their status."""

from __future__ import annotations

from collections.abc import Callable

from tools.sandbox.api import ApiError, Object, Resource
from tools.sandbox.standin import labels
from tools.sandbox.standin.children import ChildrenError, Groups, controller_reference, group_children
from tools.sandbox.standin.controller import Controller, Means, checked_children
from tools.sandbox.standin.informer import key_of
from tools.sandbox.standin.merge import same
from tools.sandbox.standin.related import group_key
from tools.sandbox.standin.webhook import SYNC_FIELDS, HookError

CONFLICT_RETRIES = 5
GC_FINALIZERS = {"foregroundDeletion", "orphan"}
UID_LABEL = "controller-uid"


class Composite(Controller):
    """A running CompositeController."""

    def __init__(self, controller: Object, means: Means) -> None:
        spec = controller["spec"]
        parent, children, hooks = spec["parentResource"], spec.get("childResources") or [], spec["hooks"]
        super().__init__(controller, means, parent=parent, children=children)
        if "status" not in self._parents.resource.subresources:
            raise HookError(f"the CRD of {parent['resource']} has no status subresource")
        self._sync_hook = means.connect(hooks["sync"], SYNC_FIELDS)
        self._finalize_hook = means.connect(hooks["finalize"], SYNC_FIELDS) if hooks.get("finalize") else None
        self._finalizer = "metacontroller.io/compositecontroller-" + controller["metadata"]["name"]

    def _is_ours(self, parent: Object) -> bool:
        return self._is_selected(parent) or self._finalizer in (parent["metadata"].get("finalizers") or [])

    def _is_claimed(self, parent: Object, child: Object) -> bool:
        return labels.matches(self._selector(parent), child["metadata"].get("labels") or {})

    def _claim(self, parent: Object) -> Groups:
        """With orphans of the namespace that the parent selects: they become its children, whoever made them."""
        groups = super()._claim(parent)
        namespace = parent["metadata"].get("namespace")
        for informer in self._children.values() if not parent["metadata"].get("deletionTimestamp") else ():
            group = groups[group_key(informer.resource.api_version, informer.resource.kind)]
            for orphan in informer.owned_by(""):
                place = orphan["metadata"].get("namespace")
                if namespace in (None, place) and self._is_claimed(parent, orphan):
                    group[key_of(orphan)] = self._adopt(informer.resource, parent, orphan)
        return groups

    def _adopt(self, resource: Resource, parent: Object, orphan: Object) -> Object:
        metadata = orphan["metadata"]
        owners = [*(metadata.get("ownerReferences") or []), controller_reference(parent)]
        body = {"metadata": {"uid": metadata["uid"], "ownerReferences": owners}}
        return self._api.patch(resource, metadata["name"], metadata.get("namespace"), body)

    def _sync(self, parent: Object) -> None:
        parent = self._sync_finalizer(parent)
        if not self._is_ours(parent):
            return
        observed = self._claim(parent)
        answer = self._call_hook(parent, observed, self._related.find(parent))
        desired = group_children(self._prepare(parent, answer.get("children") or []))
        self._resync_after(parent, answer)
        if answer.get("finalized"):
            parent = self._update(parent, lambda it: _set_finalizer(it, self._finalizer, present=False))
        failure = self._try_manage(parent, observed, desired)
        self._write_status(parent, answer.get("status") or {})
        if failure:
            raise failure

    def _sync_finalizer(self, parent: Object) -> Object:
        """Present exactly while there is a finalize hook; never added to a parent that is going away."""
        wanted = self._finalize_hook is not None
        present = self._finalizer in (parent["metadata"].get("finalizers") or [])
        if wanted == present or (wanted and parent["metadata"].get("deletionTimestamp")):
            return parent
        return self._update(parent, lambda it: _set_finalizer(it, self._finalizer, wanted))

    def _selector(self, parent: Object) -> Object:
        if self.controller["spec"].get("generateSelector"):
            return {"matchLabels": {UID_LABEL: parent["metadata"]["uid"]}}
        selector: Object = parent.get("spec", {}).get("selector") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            raise LookupError("the parent has no .spec.selector, and generateSelector is off")
        return selector

    def _call_hook(self, parent: Object, children: Groups, related: Object) -> Object:
        leaving = bool(parent["metadata"].get("deletionTimestamp")) or not self._is_selected(parent)
        finalizing = leaving and self._finalize_hook is not None
        hook = self._finalize_hook if finalizing and self._finalize_hook else self._sync_hook
        return hook.call(
            {
                "controller": self.controller,
                "parent": parent,
                "children": children,
                "related": related,
                "finalizing": finalizing,
            }
        )

    def _prepare(self, parent: Object, children: list[Object]) -> list[Object]:
        """Fill in namespace and generated label; refuse children that the parent would not select."""
        generated = bool(self.controller["spec"].get("generateSelector"))
        for child in checked_children(parent, children):
            metadata = child["metadata"]
            if generated:
                metadata["labels"] = {UID_LABEL: parent["metadata"]["uid"], **(metadata.get("labels") or {})}
            if not labels.matches(self._selector(parent), metadata.get("labels") or {}):
                raise HookError(
                    f"labels of child {child['kind']} {metadata['name']} do not match the parent's selector"
                )
        return children

    def _try_manage(self, parent: Object, observed: Groups, desired: Groups) -> ChildrenError | None:
        """Children of a parent that is going away are only managed while its finalizer is ours to remove."""
        finalizers = set(parent["metadata"].get("finalizers") or [])
        finalizing = self._finalizer in finalizers and not finalizers & GC_FINALIZERS
        if parent["metadata"].get("deletionTimestamp") and not finalizing:
            return None
        try:
            self._manage(parent, observed, desired)
        except ChildrenError as error:
            return error
        return None

    def _write_status(self, parent: Object, status: Object) -> None:
        """The whole status is replaced, when it differs from the live one. A parent that is gone is no error."""
        wanted = {**status, "observedGeneration": parent["metadata"]["generation"]}

        def change(live: Object) -> bool:
            changed = not same(live.get("status"), wanted)
            live["status"] = wanted
            return changed

        try:
            self._update(parent, change, subresource="status")
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    def _update(self, parent: Object, change: Callable[[Object], bool], subresource: str | None = None) -> Object:
        """Read the live object, change it, write it if changed; again when somebody else was faster."""
        metadata = parent["metadata"]
        for attempt in range(CONFLICT_RETRIES):
            live = self._api.get(self._parents.resource, metadata["name"], metadata.get("namespace"))
            if live is None or live["metadata"]["uid"] != metadata["uid"]:
                raise ApiError(404, "NotFound", f"{key_of(parent)} is gone")
            if not change(live):
                return live
            try:
                return self._api.replace(self._parents.resource, live, subresource)
            except ApiError as error:
                if error.reason != "Conflict" or attempt == CONFLICT_RETRIES - 1:
                    raise
        raise AssertionError("unreachable")


def _set_finalizer(item: Object, finalizer: str, present: bool) -> bool:
    before = item["metadata"].get("finalizers") or []
    after = [it for it in before if it != finalizer] + ([finalizer] if present else [])
    item["metadata"]["finalizers"] = after
    return after != before
