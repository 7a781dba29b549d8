"""Names of a cache's children."""

from __future__ import annotations


def claim_name(cache: str, index: int = 0) -> str:
    """The claim of a copy."""
    return f"{cache}-cache-{index}" if index else f"{cache}-cache"


def access_name(cache: str) -> str:
    """The downloader's ServiceAccount, Role and RoleBinding."""
    return f"{cache}-downloader"
