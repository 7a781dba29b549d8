"""drain-worker SECONDS: a worker's stop hook, which lasts until the leader has ended its requests.

All pods of a group are told to stop at the same time, and a leader that drains needs its workers; they do not end by
themselves when it ends. No port of the leader tells whether it is still there: which ones vLLM holds open depends on
the launch mode and on how the model is spread (independent copies leave the master port alone). But in every mode a
worker holds connections to its leader for as long as both serve: collectives, requests, Ray, or mpirun's ssh. So the
hook looks at the pod's own connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from inference_runtime.failure import EXIT_CONFIGURATION, Failure
from inference_runtime.group import Group, parse_group

_PAUSE_SECONDS = 0.5
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_WORD_DIGITS = 8

Address = IPv4Address | IPv6Address


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or not arguments[0].isdecimal():
        raise Failure("drain-worker takes the most seconds to wait", EXIT_CONFIGURATION)
    wait_for_leader(parse_group(os.environ), int(arguments[0]))
    return 0


def wait_for_leader(group: Group, seconds: int) -> None:
    """Return when this pod has no connection to the leader, or the time is over. The leader's address is asked once:
    the name of a pod that stops may go before the pod does."""
    deadline = time.monotonic() + seconds
    leader = _addresses(group.leader)
    while time.monotonic() < deadline and not leader.isdisjoint(_connected()):
        time.sleep(_PAUSE_SECONDS)


def _addresses(name: str) -> set[Address]:
    try:
        return {ip_address(answer[4][0]) for answer in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _connected() -> Iterator[Address]:
    """Where the pod's TCP connections lead that are open at both ends."""
    for table in _TABLES:
        with contextlib.suppress(OSError):  # a kernel without IPv6 has one table
            yield from parse_connected(table.read_text())


def parse_connected(table: str) -> Iterator[Address]:
    """The far ends in /proc/net/tcp or tcp6. Addresses are written in words of 32 bits, each as a number of this
    machine's byte order; IPv4 over a socket of IPv6 counts as what it is."""
    for line in table.splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        if state == _ESTABLISHED:
            yield _address(remote.partition(":")[0])


def _address(digits: str) -> Address:
    words = (digits[start : start + _WORD_DIGITS] for start in range(0, len(digits), _WORD_DIGITS))
    address = ip_address(b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words))
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
