"""InferenceService: a model served by vLLM on AMD GPUs."""

from app.api.v1alpha1.inferenceservice import KIND
from app.inferenceservice.sync import customize, finalize, sync

__all__ = ["KIND", "customize", "finalize", "sync"]
