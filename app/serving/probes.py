"""/healthz, /readyz and /metrics, which every port of the service answers, and a port of their own.

That port has a thread and an event loop of its own, so that it is answered while the hooks' loop is busy, and lets a
NetworkPolicy admit Prometheus without admitting it to the hooks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

STUCK_SECONDS = 60.0
"""A loop that has not turned for so long will not turn again; all that runs on it is bounded far below."""


class Pulse:
    """When the hooks' event loop last turned."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None

    def beat(self) -> None:
        self._last = self._clock()

    @property
    def is_stuck(self) -> bool:
        return self._last is not None and self._clock() - self._last > STUCK_SECONDS


def build_probes(pulse: Pulse) -> APIRouter:
    """The three routes."""
    router = APIRouter()

    @router.get("/healthz", summary="The process answers, and its event loop turns")
    async def healthz() -> Response:
        if pulse.is_stuck:
            return JSONResponse({"status": f"the event loop has not turned for {STUCK_SECONDS:g} s"}, status_code=503)
        return JSONResponse({"status": "ok"})

    @router.get("/readyz", summary="The hooks can be called; there is no state to wait for")
    async def readyz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


def build_probes_app(pulse: Pulse) -> FastAPI:
    """An application of these routes alone."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(build_probes(pulse))
    return app
