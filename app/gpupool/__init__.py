"""GPUPool: the single allocator of a set of GPU nodes."""

from app.api.v1alpha1.gpupool import KIND
from app.gpupool.sync import customize, finalize, sync

__all__ = ["KIND", "customize", "finalize", "sync"]
