"""InferenceService: a model served by vLLM on AMD GPUs."""

from app.inferenceservice.kind import KIND
from app.inferenceservice.sync import customize, finalize, sync

__all__ = ["KIND", "customize", "finalize", "sync"]
