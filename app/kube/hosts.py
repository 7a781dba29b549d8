"""Hosts and networks as settings name them; the standard library only, for the operator and the downloader."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Host:
    """A DNS name or an address; without a port all ports of it."""

    name: str
    port: int | None = None


def parse_host(text: str) -> Host:
    """`name`, `name:port`, `192.0.2.1:port`, `2001:db8::1` or `[2001:db8::1]:port`. Raises ValueError."""
    if text.count(":") > 1 and not text.startswith("["):
        return Host(str(ip_address(text)))
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        name, port = "", None
    plain = not (parts.path or parts.query or parts.fragment or "@" in text) if name else False
    if not plain or not (":" in name or _NAME.fullmatch(name)):
        raise ValueError(f"{text!r} is not a host: write name, name:port or an address")
    return Host(name, port)


def host_of(url: str) -> Host | None:
    """The host that a URL leads to, with its port; None where it has none. The scheme may be missing, as in proxies."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    return Host(name, port or _DEFAULT_PORTS.get(parts.scheme)) if name else None


def parse_network(text: str) -> Network:
    """A range of addresses, for example 10.96.0.0/12. Raises ValueError."""
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a range of addresses: write for example 10.96.0.0/12") from None
