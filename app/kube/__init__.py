"""Kubernetes vocabulary shared by all kinds."""
