"""The HTTP edge: routes, and the only clock. What a call may cost is bounded in app.serving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response

from app.metacontroller.protocol import CustomizeResponse, DecorateResponse, SyncResponse
from app.serving.answer import Call
from app.serving.edge import Edge
from app.serving.probes import Pulse, build_probes
from app.serving.workers import Workers
from app.settings import Settings

Clock = Callable[[], datetime]

_DESCRIPTION = "Metacontroller v2 hooks of the inference operator. Bodies are Metacontroller's own wire format."
_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is not JSON, or not a hook request."},
    404: {"description": "No such kind."},
    408: {"description": "The body did not come in time."},
    413: {"description": "The body is too long, or an object in it holds too many values."},
    429: {"description": "Too many requests; see Retry-After."},
    500: {"description": "A bug; nothing in the cluster changes."},
    503: {"description": "The hook of this object took too much, and is not tried for a while; see Retry-After."},
}

KindName = Annotated[str, Path(description="inferenceservice, modelcache, inferenceendpoint, gpupool or gpunode")]


def utc_now() -> datetime:
    return datetime.now(UTC)


def build_app(settings: Settings, clock: Clock = utc_now, edge: Edge | None = None) -> FastAPI:
    """The FastAPI application over the hooks of all kinds. Its worker process runs with its lifespan."""
    serving = edge or Edge(settings, Workers(settings))
    pulse = Pulse()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        serving.workers.start()
        beating = asyncio.create_task(_beat(pulse))
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
            serving.workers.stop()

    app = FastAPI(
        title="inference-operator hooks",
        description=_DESCRIPTION,
        version="0.1.0",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.api_docs else None,
    )
    app.state.pulse = pulse
    app.include_router(build_probes(pulse))

    @app.post(
        "/sync/{kind}",
        response_model=SyncResponse | DecorateResponse,
        responses=_ANSWERS,
        summary="Desired children and status, or attachments and labels",
    )
    async def sync(kind: KindName, request: Request) -> Response:
        return await serving.respond(request, Call("sync", kind, clock()))

    @app.post("/customize/{kind}", response_model=CustomizeResponse, responses=_ANSWERS, summary="Related objects")
    async def customize(kind: KindName, request: Request) -> Response:
        return await serving.respond(request, Call("customize", kind, clock()))

    @app.post("/finalize/{kind}", response_model=SyncResponse, responses=_ANSWERS, summary="What to do at deletion")
    async def finalize(kind: KindName, request: Request) -> Response:
        return await serving.respond(request, Call("finalize", kind, clock()))

    return app


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(1)
