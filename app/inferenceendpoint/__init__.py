"""InferenceEndpoint: how an InferenceService is reached."""

from app.api.v1alpha1.inferenceendpoint import KIND
from app.inferenceendpoint.sync import customize, finalize, sync

__all__ = ["KIND", "customize", "finalize", "sync"]
