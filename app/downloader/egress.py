"""Which addresses a download may connect to.

Sources name hosts, and whoever writes a ModelCache chooses them: without a rule they could make the downloader read a
node's metadata service, or whatever listens on the node, and store the answer where they can read it.

The rule looks at the address of every connection at the moment when it is opened, whichever library opens it. So
neither a DNS name that leads elsewhere at the second look, nor a redirect, nor another spelling of an address passes.
Behind a proxy it is the proxy that connects: there URLs are looked at too, as far as their hosts resolve here.

The process's own calls are trusted: reports to the API server, and credentials from the cloud's metadata service.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from app.contracts import download as contract
from app.contracts.sources import SOURCES
from app.downloader.errors import DownloadError
from app.kube.conditions import ErrorClass
from app.kube.hosts import Host, Network, host_of, parse_host, parse_network

Address = IPv4Address | IPv6Address
MOST_REDIRECTS = 5
_METADATA = tuple(
    ip_network(it)
    for it in (
        "169.254.0.0/16",  # AWS, Azure, Google, OpenStack, and the others that took the same address
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd00:a9fe:a9fe::1/128",  # Linode
        "fd00:42::42/128",  # Scaleway
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle, earlier
    )
)
_THIS_NETWORK = ip_network("0.0.0.0/8")
_EMBEDDED = tuple(ip_network(it) for it in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"))
"""IPv6 addresses whose last 32 bits are the IPv4 address that is reached."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_ENDPOINTS = tuple(name for it in SOURCES for name in it.endpoints)
"""Variables that only an administrator sets, and the hosts in them with that."""


class Refused(OSError):  # noqa: N818  (an expected failure)
    """A connection that the rule forbids. An OSError, so that libraries close what they opened."""


@dataclass(frozen=True)
class Egress:
    """The rule."""

    refused: tuple[Network, ...] = ()
    """Ranges of the cluster's pods and Services."""
    allowed: tuple[Host, ...] = ()
    """Hosts that may be reached wherever they are."""
    proxied: bool = False
    """Whether a proxy may be what connects."""

    def require(self, name: str, port: int) -> None:
        """Raises Refused where the address `name` may not be connected to."""
        kind = self._kind(name)
        if kind and not self._is_allowed(name, port):
            raise Refused(f"it leads to {name}, {kind}")

    def require_url(self, url: str) -> None:
        """Raises Refused where the URL's host is, or resolves to, an address that may not be connected to."""
        host = host_of(url)
        if host is None or (host.name, host.port) in {(it.name, it.port or host.port) for it in self.allowed}:
            return
        for address in _resolve(host.name, numeric=not self.proxied):
            self.require(address, host.port or 0)

    def _kind(self, name: str) -> str:
        """What forbids an address; "" = nothing."""
        try:
            address = _reached(ip_address(name.partition("%")[0]))
        except ValueError:
            return "which is not an address"
        if any(address in network for network in self.refused):
            return "an address of the cluster's pods or Services"
        return kind_of(address)

    def _is_allowed(self, address: str, port: int) -> bool:
        ports = (None, port)
        return any(host.port in ports and address in _resolve(host.name) for host in self.allowed)


ALWAYS_REFUSED = Egress()
"""The rule where no setting adds to it."""


def kind_of(address: Address) -> str:
    """What kind of address no download may reach; "" for all others, private ones among them."""
    if any(address in network for network in _METADATA):
        return "a link-local or metadata address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "an unspecified address"
    if address.is_multicast or str(address) == "255.255.255.255":
        return "a multicast address"
    return ""


def parse_egress(environment: Mapping[str, str]) -> Egress:
    """The rule of the environment; a DownloadError of class Configuration where it cannot be read."""
    try:
        refused = [parse_network(it) for it in _items(environment, contract.CLUSTER_CIDRS)]
        allowed = [parse_host(it) for it in _items(environment, contract.ALLOWED_HOSTS)]
    except ValueError as error:
        raise DownloadError(ErrorClass.CONFIGURATION, "BadSettings", f"Environment: {error}.") from error
    api = environment.get("KUBERNETES_SERVICE_HOST", "")
    proxies = [text for name in _PROXIES for text in _either_case(environment, name)]
    named = [text for name in _ENDPOINTS if (text := environment.get(name, ""))]
    hosts = [host for text in (*proxies, *named) if (host := host_of(text))]
    return Egress((*refused, *_network_of(api)), (*allowed, *hosts), bool(proxies))


def find_refusal(error: BaseException) -> Refused | None:
    """The refusal that an error of a library was caused by."""
    return next((it for it in causes_of(error) if isinstance(it, Refused)), None)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from, or wraps."""
    seen: set[int] = set()
    left: list[BaseException] = [error]
    while left:
        found = left.pop(0)
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            inner = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
            left += [it for it in inner if isinstance(it, BaseException)]


def refused_error(refusal: Refused, what: str) -> DownloadError:
    message = (
        f"{what}: {refusal}, which downloads may not connect to; use another address, or ask the administrator to add "
        "the host to INFERENCE_DOWNLOADER_ALLOWED_HOSTS."
    )
    return DownloadError(ErrorClass.CONFIGURATION, "AddressRefused", message)


_enforced: list[Egress] = []
"""The rule that holds in this process; at most one."""
_own = threading.local()
_hooked = threading.Lock()


@contextmanager
def enforced(rule: Egress) -> Iterator[None]:
    """While it lasts, no thread opens a connection that the rule forbids."""
    if _hooked.acquire(blocking=False):
        sys.addaudithook(_audit)  # for as long as the process lives: Python cannot take it back
    before = _enforced[:]
    _enforced[:] = [rule]
    try:
        yield
    finally:
        _enforced[:] = before


@contextmanager
def trusted() -> Iterator[None]:
    """While it lasts, this thread may connect anywhere. Never around what a source names."""
    before = getattr(_own, "trusted", False)
    _own.trusted = True
    try:
        yield
    finally:
        _own.trusted = before


def require_url(url: str) -> None:
    """Raises Refused where the rule that holds forbids the URL."""
    for rule in _enforced:
        rule.require_url(url)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _enforced and not getattr(_own, "trusted", False):
        connecting, address = args
        if connecting.family in (socket.AF_INET, socket.AF_INET6):
            _enforced[0].require(str(address[0]), int(address[1]))


def _reached(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    teredo = address.teredo[1] if address.teredo else None
    embedded = any(address in network for network in _EMBEDDED) and int(address) > 1
    last = IPv4Address(int(address) & 0xFFFFFFFF) if embedded else None
    return address.ipv4_mapped or address.sixtofour or teredo or last or address


def _resolve(name: str, numeric: bool = False) -> set[str]:
    """Addresses of a name, in whatever spelling; `numeric` asks no DNS server. Empty when there are none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST if numeric else 0)
    except (OSError, UnicodeError):
        return set()
    return {str(it[4][0]) for it in found}


def _network_of(address: str) -> tuple[Network, ...]:
    try:
        return (ip_network(address),)
    except ValueError:
        return ()


def _items(environment: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in environment.get(name, "").split(",") if part.strip()]


def _either_case(environment: Mapping[str, str], name: str) -> list[str]:
    return [text for it in (name, name.lower()) if (text := environment.get(it, ""))]
