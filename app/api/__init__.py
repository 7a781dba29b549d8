"""The API group inference.ai: its kinds as pydantic models, from which the CRDs are made."""
