"""Addresses of the real node: a link between host and node, and what lies behind it. One node a machine."""

from __future__ import annotations

import ipaddress

HOST = "10.213.0.1"
"""Our end of the link: the API server and the model hub listen here."""
NODE = "10.213.0.2"
"""The node's end: kubelet, CoreDNS, and the way to pods and Services."""
LINK = "10.213.0.0/30"
PODS = "10.214.0.0/16"
SERVICES = "10.215.0.0/16"
ALL = (LINK, PODS, SERVICES)


def overlapping(routes: list[str]) -> list[str]:
    """Those of the machine's routes that our addresses would shadow; a default route never counts."""
    ours = [ipaddress.ip_network(network) for network in ALL]
    found = [ipaddress.ip_network(route) for route in routes if route != "default"]
    return [str(network) for network in found if any(network.overlaps(own) for own in ours)]
