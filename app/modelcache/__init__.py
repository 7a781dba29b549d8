"""ModelCache: a model, downloaded once to a volume."""

from app.api.v1alpha1.modelcache import KIND
from app.modelcache.sync import customize, finalize, sync

__all__ = ["KIND", "customize", "finalize", "sync"]
