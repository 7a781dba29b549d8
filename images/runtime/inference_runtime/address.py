"""Which addresses a pod has, and how they are written: IPv4, IPv6, or both.

vLLM serves IPv4 alone unless it is given an address of IPv6; `::` takes both families unless net.ipv6.bindv6only was
changed.
"""

from __future__ import annotations

import socket
from pathlib import Path

ANY_IPV6 = "::"
_INTERFACES = Path("/proc/net/if_inet6")
_IPV6_ONLY = Path("/proc/sys/net/ipv6/bindv6only")
_GLOBAL_SCOPE = "00"


def is_ipv6(address: str) -> bool:
    return ":" in address


def with_port(host: str, port: int) -> str:
    """host:port, an address of IPv6 in brackets."""
    return f"[{host}]:{port}" if is_ipv6(host) else f"{host}:{port}"


def served_host(own_ip: str) -> str:
    """What the API listens on: all addresses of a pod that has one of IPv6, else "", vLLM's own default."""
    if is_ipv6(own_ip):
        return ANY_IPV6
    return ANY_IPV6 if _has_ipv6() and not (own_ip and _is_separate()) else ""


def _has_ipv6() -> bool:
    """An address beyond the pod's own links; without IPv6 there is no such file."""
    return any(line.split()[3] == _GLOBAL_SCOPE and not line.endswith(" lo") for line in _lines(_INTERFACES))


def _is_separate() -> bool:
    return _lines(_IPV6_ONLY) == ["1"]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split("\n")[:-1]
    except OSError:
        return []


def open_door(port: int, backlog: int) -> socket.socket:
    """A listening socket for both families, or for IPv4 where the kernel has no other."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
    return socket.create_server(("", port), backlog=backlog)


def find_address(name: str, like: str) -> str:
    """An address of the name, rather one of the family of `like`: a group's pods talk in one."""
    found = [str(it[4][0]) for it in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    return next((it for it in found if is_ipv6(it) == is_ipv6(like)), found[0])
