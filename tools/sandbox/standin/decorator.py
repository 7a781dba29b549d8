"""One DecoratorController: labels, annotations, status and attachments for objects that somebody else made."""

from __future__ import annotations

import copy

from tools.sandbox.api import ApiError, Object
from tools.sandbox.standin import labels
from tools.sandbox.standin.children import group_children
from tools.sandbox.standin.controller import Controller, Means, checked_children
from tools.sandbox.standin.merge import same
from tools.sandbox.standin.webhook import DECORATE_FIELDS, HookError

DECORATOR_ANNOTATION = "metacontroller.k8s.io/decorator-controller"


class Decorator(Controller):
    """A running DecoratorController. Its attachments are told by an annotation: there is no selector for them."""

    def __init__(self, controller: Object, means: Means) -> None:
        spec = controller["spec"]
        if len(spec["resources"]) != 1:
            raise HookError("the stand-in decorates one resource per controller")
        if spec["hooks"].get("finalize"):
            raise HookError("the stand-in knows no finalize hook of a DecoratorController")
        [parent], children = spec["resources"], spec.get("attachments") or []
        super().__init__(controller, means, parent=parent, children=children)
        self._hook = means.connect(spec["hooks"]["sync"], DECORATE_FIELDS)

    @property
    def _name(self) -> str:
        return str(self.controller["metadata"]["name"])

    def _is_selected(self, parent: Object) -> bool:
        """By labels and by annotations."""
        rule = self._parent_rule.get("annotationSelector")
        selector = rule and {"matchLabels": rule.get("matchAnnotations"), **rule}
        return super()._is_selected(parent) and labels.matches(selector, parent["metadata"].get("annotations") or {})

    def _is_claimed(self, parent: Object, child: Object) -> bool:
        return (child["metadata"].get("annotations") or {}).get(DECORATOR_ANNOTATION) == self._name

    def _sync(self, parent: Object) -> None:
        if not self._is_selected(parent):
            return
        observed = self._claim(parent)
        answer = self._hook.call(
            {
                "controller": self.controller,
                "object": parent,
                "attachments": observed,
                "related": self._related.find(parent),
                "finalizing": False,
            }
        )
        desired = group_children(self._prepare(parent, answer.get("attachments") or []))
        self._resync_after(parent, answer)
        if self._decorate(parent, answer) and not parent["metadata"].get("deletionTimestamp"):
            self._manage(parent, observed, desired)

    def _prepare(self, parent: Object, attachments: list[Object]) -> list[Object]:
        for attachment in checked_children(parent, attachments):
            metadata = attachment["metadata"]
            metadata["annotations"] = {**(metadata.get("annotations") or {}), DECORATOR_ANNOTATION: self._name}
        return attachments

    def _decorate(self, parent: Object, answer: Object) -> bool:
        """Write what differs; False when somebody else was faster, so that another sync is under way."""
        wanted = decorated(parent, answer)
        if same(wanted, parent):
            return True
        try:
            self._write(parent, wanted)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
            return False
        return True

    def _write(self, parent: Object, wanted: Object) -> None:
        """The object is written as it was observed, so a conflict means that the observation is out of date."""
        resource = self._parents.resource
        if not same(wanted.get("status"), parent.get("status")) and "status" in resource.subresources:
            written = self._api.replace(resource, wanted, "status")
            wanted["metadata"]["resourceVersion"] = written["metadata"]["resourceVersion"]
        self._api.replace(resource, wanted)


def decorated(parent: Object, answer: Object) -> Object:
    """The object with the labels, annotations and status of an answer; None removes a key, no status keeps it all."""
    wanted = copy.deepcopy(parent)
    for field in ("labels", "annotations"):
        before = parent["metadata"].get(field) or {}
        merged = {**before, **(answer.get(field) or {})}
        after = {key: value for key, value in merged.items() if value is not None}
        if after != before:
            wanted["metadata"][field] = after
    if answer.get("status") is not None:
        wanted["status"] = answer["status"]
    return wanted
