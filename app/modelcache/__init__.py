"""ModelCache: a model, downloaded once to a volume."""

from app.modelcache.spec import KIND
from app.modelcache.sync import customize, finalize, sync

__all__ = ["KIND", "customize", "finalize", "sync"]
