"""What a worker's stop hook makes of the kernel's tables of connections."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from inference_runtime.drain import parse_connected

from tests.serving.running import wait_until

ADDRESS = f"127.9.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
"""Nobody else's on this machine, not even of another run of this test."""


@pytest.mark.parametrize(
    ("table", "family", "spelling"),
    [
        pytest.param("tcp", socket.AF_INET, ADDRESS, id="IPv4"),
        pytest.param("tcp6", socket.AF_INET6, f"::ffff:{ADDRESS}", id="IPv4 over a socket of IPv6"),
    ],
)
def test_a_leader_counts_as_connected_until_it_closes(table: str, family: int, spelling: str) -> None:
    def connected() -> bool:
        return ip_address(ADDRESS) in parse_connected(Path("/proc/net", table).read_text())

    with socket.create_server((ADDRESS, 0)) as door, socket.socket(family) as worker:
        assert not connected()
        worker.connect((spelling, door.getsockname()[1]))
        leader, _ = door.accept()
        assert connected()
        leader.close()
        wait_until(lambda: not connected())  # the kernel may hand the packet over later


def test_an_address_of_ipv6_is_read_by_words() -> None:
    numbers = [int.from_bytes(ip_address("2001:db8::1").packed[at : at + 4], sys.byteorder) for at in (0, 4, 8, 12)]
    leader = "".join(f"{number:08X}" for number in numbers)
    assert list(parse_connected(f"sl ...\n0: {'0' * 32}:8AE2 {leader}:1F90 01 ...\n")) == [ip_address("2001:db8::1")]
