"""Metacontroller's hook protocol, version v2: wire types and look-ups.

Outer keys of children and related objects are `Kind.version` for the core group and `Kind.group/version` otherwise;
inner keys are `namespace/name` for namespaced objects. A look-up always uses the exact namespace and name.
Source: metacontroller v4.17.2, pkg/controller/composite/api/v2 and pkg/controller/decorator/api/v2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.kube.lenient import mapping_at, texts_in
from app.kube.manifest import Manifest, kind_key

Objects = Mapping[str, Mapping[str, Manifest]]


class Parent(BaseModel):
    """The few fields every hook needs of its object; `spec` and `status` stay raw until a kind parses them."""

    model_config = ConfigDict(frozen=True)

    metadata: dict[str, Any]
    spec: dict[str, Any] = Field(default_factory=dict)
    status: dict[str, Any] | None = None
    unread: str = ""
    """What of the object was too much to be read, and why: app.serving.reading says so, never the wire."""

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        return str(self.metadata["namespace"])

    @cached_property
    def labels(self) -> dict[str, str]:
        return dict(texts_in(self.metadata, "labels"))

    @cached_property
    def annotations(self) -> dict[str, str]:
        return dict(texts_in(self.metadata, "annotations"))

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """Conditions of the previous status; anything that is no condition is left out."""
        found = (self.status or {}).get("conditions")
        return [it for it in found if isinstance(it, dict)] if isinstance(found, list) else []


class CustomizeRequest(BaseModel):
    """What a customize hook is asked; its answer is cached by (uid, generation): read the spec only."""

    controller: dict[str, Any] = Field(default_factory=dict)
    parent: Parent


class SyncRequest(CustomizeRequest):
    """What a sync or finalize hook is asked."""

    children: dict[str, dict[str, Manifest]] = Field(default_factory=dict)
    related: dict[str, dict[str, Manifest]] = Field(default_factory=dict)
    finalizing: bool = False

    def child(self, kind: str, name: str) -> Manifest | None:
        """The observed child of the parent's own namespace, e.g. child("Deployment.apps/v1", "llama-leader")."""
        return self.children.get(kind, {}).get(f"{self.parent.namespace}/{name}")

    def related_object(self, kind: str, name: str) -> Manifest | None:
        """A related object of the parent's own namespace. The outer key is missing until a match was seen."""
        return self.related.get(kind, {}).get(f"{self.parent.namespace}/{name}")

    def observed_children(self) -> Iterator[Manifest]:
        """All observed children in a stable order."""
        for _, group in sorted(self.children.items()):
            yield from (child for _, child in sorted(group.items()))

    def misplaced(self) -> Iterator[str]:
        """Observed children that are not what their keys say, or have no readable metadata: no API server sends such,
        and what is made of them would be neither kept nor left out with reason."""
        for kind, group in self.children.items():
            for key, child in group.items():
                metadata = mapping_at(child, "metadata")
                namespace, name = (metadata.get(it) for it in ("namespace", "name"))
                named = key == (name if namespace is None else f"{namespace}/{name}")
                if kind_key(child) != kind or not (named and _has_marks(metadata)):
                    yield f"{kind} {key}"

    def manages(self, kind: str) -> bool:
        """Whether the controller lists this kind as a child resource; only such kinds may be emitted."""
        return kind in self.children


def _has_marks(metadata: Mapping[str, Any]) -> bool:
    """Whether labels and annotations are texts by name, or absent."""
    return all(
        marks is None or (isinstance(marks, dict) and all(isinstance(it, str) for it in marks.values()))
        for marks in (metadata.get("labels"), metadata.get("annotations"))
    )


class RelatedRule(BaseModel):
    """One customize rule. What serves one tenant gives namespace and names, or labels, so no other tenant's object is
    ever seen; a rule without both selects all objects of the kind, for the cluster-wide pool."""

    model_config = ConfigDict(frozen=True)

    api_version: str = Field(serialization_alias="apiVersion")
    resource: str
    namespace: str | None = None
    names: list[str] | None = None
    label_selector: dict[str, dict[str, str]] | None = Field(None, serialization_alias="labelSelector")


class CustomizeResponse(BaseModel):
    related_resources: list[RelatedRule] = Field(default_factory=list, serialization_alias="relatedResources")


class SyncResponse(BaseModel):
    """The whole desired state: a child left out is deleted. Metacontroller refuses unknown fields here."""

    status: dict[str, Any]
    children: list[Manifest]
    resync_after_seconds: float = Field(default=0.0, serialization_alias="resyncAfterSeconds")
    finalized: bool | None = None


class DecorateRequest(BaseModel):
    """What the sync hook of a DecoratorController is asked about one object that somebody else made."""

    controller: dict[str, Any] = Field(default_factory=dict)
    object: Parent
    attachments: dict[str, dict[str, Manifest]] = Field(default_factory=dict)
    related: dict[str, dict[str, Manifest]] = Field(default_factory=dict)
    finalizing: bool = False


class DecorateResponse(BaseModel):
    """All attachments: one left out is deleted. Labels that are not named stay; None removes one.

    The object's status is left out of the answer, which means: leave it as it is.
    """

    labels: dict[str, str | None]
    attachments: list[Manifest]
    resync_after_seconds: float = Field(default=0.0, serialization_alias="resyncAfterSeconds")


def sooner(*seconds: float) -> float:
    """The earliest of the retries asked for; 0 = none."""
    return min((second for second in seconds if second), default=0.0)
