"""XGMI islands: GPUs of a node that are linked each with each. A tensor parallel group that must not leave an island
asks for `island` GPUs in one; 0 or 1 = no matter, for every GPU is an island of one.

    with n GPUs in islands of i, of which u are in use, at least n/i - u islands are untouched, wherever the u are: a
    pod of g GPUs with tensor parallelism t is sure to get whole islands when (n/i - u) x (i // t) >= g / t
"""

from __future__ import annotations

from app.scheduling.nodes import Node


def exceeds_island(island: int, node: Node) -> bool:
    """Whether the islands of this node are too small, whatever is free; those of which nothing is known are not."""
    return island > (node.island or node.gpus)


def keeps_islands(gpus: int, island: int, node: Node, free: int) -> bool:
    """Whether one more pod of so many GPUs is sure of whole islands with so many GPUs free."""
    if island <= 1:
        return True
    if exceeds_island(island, node):
        return False
    size = node.island or node.gpus
    untouched = node.gpus // size - (node.gpus - free) if size < node.gpus else 1
    per_island = size // island if size < node.gpus else free // island
    return untouched * per_island >= gpus // island
