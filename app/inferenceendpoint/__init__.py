"""InferenceEndpoint: how an InferenceService is reached."""

from app.inferenceendpoint.kind import KIND
from app.inferenceendpoint.sync import customize, finalize, sync

__all__ = ["KIND", "customize", "finalize", "sync"]
