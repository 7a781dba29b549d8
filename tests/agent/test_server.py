"""The agent's own port answers on addresses of both families, as on IPv6-only clusters there is one alone."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
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
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}:{port}/healthz") as answer,
        ):
            return answer.status

    assert asyncio.run(ask()) == 200
