"""The agent's own port answers on addresses of both families, as on IPv6-only clusters there is one alone."""

from __future__ import annotations

import asyncio
import socket

import httpx2
import pytest

from app.__main__ import build_parser
from app.agent.io.server import serving
from tools.sandbox.process import free_port


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this kernel has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_probes_are_answered_on_each_family(address: str) -> None:
    port = free_port()
    arguments = build_parser().parse_args(["agent", f"--port={port}"])

    async def ask() -> int:
        async with (
            serving(arguments.host, port, lambda: ""),
            httpx2.AsyncClient(trust_env=False) as session,
        ):
            return (await session.get(f"http://{address}:{port}/healthz")).status_code

    assert asyncio.run(ask()) == 200
