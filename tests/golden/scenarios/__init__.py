"""The stories that golden requests are recorded from. To add one, write a function in the module of its kind."""

from tests.golden.scenarios import caches, endpoints, nodes, pools, samples, services
from tests.golden.scene import SCENARIOS

__all__ = ["SCENARIOS", "caches", "endpoints", "nodes", "pools", "samples", "services"]
