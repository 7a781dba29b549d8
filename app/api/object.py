"""An object of one of our kinds as a whole: metadata, and the spec and status that the kind's module declares."""

from __future__ import annotations

from pydantic import Field

from app.api.schema import Model


class Metadata(Model):
    """The part of an object's metadata that decisions read; "" where the object does not say."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str = ""
    """RFC 3339, so that text order is time order."""
    deletion_timestamp: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Object(Model):
    """What every kind has. A kind adds its `spec` and `status`."""

    metadata: Metadata = Field(default_factory=Metadata)

    @property
    def key(self) -> str:
        """namespace/name, or the name of a cluster-wide object."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name
