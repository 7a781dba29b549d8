"""Kubernetes operator for LLM inference on AMD GPUs: stateless hooks behind Metacontroller."""
