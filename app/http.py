"""The HTTP edge: routes, error answers, and the only clock. No decisions are made here.

A hook that cannot answer the whole desired state must not answer 200: Metacontroller deletes every child that a 200
leaves out, and changes nothing at all on any other code. So a malformed call is a 4xx and a bug is a 500, both JSON.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import FastAPI, Path, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ValidationError

from app import metrics
from app.crd import Kind
from app.home import StrayAnswerError
from app.hook import (
    CustomizeRequest,
    CustomizeResponse,
    DecorateRequest,
    DecorateResponse,
    Parent,
    SyncRequest,
    SyncResponse,
)
from app.kinds import DECORATORS, HOOKS, Decorator, KindHooks
from app.settings import Settings

log = logging.getLogger("app.http")

Clock = Callable[[], datetime]
Handler = Callable[[Any], BaseModel]
Wire = TypeVar("Wire", bound=BaseModel)

_DESCRIPTION = "Metacontroller v2 hooks of the inference operator. Bodies are Metacontroller's own wire format."
_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is not JSON, or not a hook request."},
    404: {"description": "No such kind."},
    500: {"description": "A bug; nothing in the cluster changes."},
}

KindName = Annotated[str, Path(description="inferenceservice, modelcache, inferenceendpoint, gpupool or gpunode")]


class BadRequestError(Exception):
    """The caller's mistake: becomes a JSON answer with this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def utc_now() -> datetime:
    return datetime.now(UTC)


def build_app(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    """The FastAPI application over the hooks of all kinds."""
    app = FastAPI(title="inference-operator hooks", description=_DESCRIPTION, version="0.1.0")

    @app.post(
        "/sync/{kind}",
        response_model=SyncResponse | DecorateResponse,
        responses=_ANSWERS,
        summary="Desired children and status, or attachments and labels",
    )
    async def sync(kind: KindName, request: Request) -> Response:
        if kind in DECORATORS:
            return await _answer(request, "sync", kind, lambda body: _decorate(DECORATORS[kind], body, settings))
        return await _answer(request, "sync", kind, lambda body: _sync(_hooks_of(kind), body, settings, clock()))

    @app.post("/customize/{kind}", response_model=CustomizeResponse, responses=_ANSWERS, summary="Related objects")
    async def customize(kind: KindName, request: Request) -> Response:
        return await _answer(request, "customize", kind, lambda body: _customize(_hooks_of(kind), body))

    @app.post("/finalize/{kind}", response_model=SyncResponse, responses=_ANSWERS, summary="What to do at deletion")
    async def finalize(kind: KindName, request: Request) -> Response:
        return await _answer(request, "finalize", kind, lambda body: _finalize(_hooks_of(kind), body))

    @app.get("/healthz", summary="The process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="The hooks can be called; there is no state to wait for")
    async def readyz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(BadRequestError)
    async def bad_request(request: Request, error: BadRequestError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=error.code)

    return app


async def _answer(request: Request, hook: str, kind: str, handle: Handler) -> Response:
    started = perf_counter()
    label = kind if kind in HOOKS or kind in DECORATORS else "unknown"
    response = _guarded(hook, kind, await request.body(), handle)
    if response.status_code == 200:
        response = _with_etag(response, request.headers.get("if-none-match"))
    metrics.HOOK_REQUESTS.labels(hook, label, str(response.status_code)).inc()
    metrics.HOOK_SECONDS.labels(hook, label).observe(perf_counter() - started)
    return response


def _guarded(hook: str, kind: str, body: bytes, handle: Handler) -> Response:
    try:
        answer = handle(_parsed_json(body))
        return Response(orjson.dumps(_wire(answer)), media_type="application/json")
    except BadRequestError as error:
        return JSONResponse({"error": str(error)}, status_code=error.code)
    except StrayAnswerError as error:
        metrics.STRAY_ANSWERS.labels(kind, error.reason).inc()
        log.error("%s of a %s was not answered; nothing was changed: %s", hook, kind, error)
        return JSONResponse({"error": f"the answer was not sent, and nothing was changed: {error}"}, status_code=500)
    except Exception:
        log.exception("%s of a %s failed; nothing was changed", hook, kind)
        message = f"{hook} of a {kind} failed because of a bug in the operator; nothing was changed, see its log"
        return JSONResponse({"error": message}, status_code=500)


def _wire(answer: BaseModel) -> Mapping[str, Any]:
    """The answer as Metacontroller reads it; children and status are JSON already and need no validation."""
    return {
        field.serialization_alias or name: value
        for name, field in type(answer).model_fields.items()
        if (value := _plain(getattr(answer, name))) is not None
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump(by_alias=True, exclude_none=True) if isinstance(value, BaseModel) else value


def _hooks_of(kind: str) -> KindHooks:
    if kind in DECORATORS:
        raise BadRequestError(404, f"a {kind} is attached to objects of others: it has no hook but sync")
    if kind not in HOOKS:
        raise BadRequestError(404, f"there is no kind {kind!r}; known are {', '.join(sorted({*HOOKS, *DECORATORS}))}")
    return HOOKS[kind]


def _parsed_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(400, f"the body is not JSON: {error}") from None


def _parsed(model: type[Wire], value: Any) -> Wire:
    try:
        wire = model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise BadRequestError(400, f"not a {model.__name__}: {where}: {first['msg']}") from None
    return wire


def _named(parent: Parent, kind: Kind) -> Parent:
    """Every look-up goes by the object's exact namespace and name."""
    for field in ("name", "namespace") if kind.scope == "Namespaced" else ("name",):
        if not isinstance(parent.metadata.get(field), str) or not parent.metadata[field]:
            raise BadRequestError(400, f"no {kind.name}: metadata.{field} is missing")
    return parent


def _asked(hooks: KindHooks, body: Any) -> SyncRequest:
    request = _parsed(SyncRequest, body)
    _named(request.parent, hooks.kind)
    return request


def _sync(hooks: KindHooks, body: Any, settings: Settings, now: datetime) -> SyncResponse:
    request = _asked(hooks, body)
    response = hooks.sync(request, settings, now)
    metrics.DECISIONS.labels(hooks.kind.name.lower(), str(response.status.get("phase", "-"))).inc()
    return response


def _decorate(decorator: Decorator, body: Any, settings: Settings) -> DecorateResponse:
    request = _parsed(DecorateRequest, body)
    _named(request.object, decorator.kind)
    response = decorator.sync(request, settings)
    metrics.DECISIONS.labels(decorator.kind.name, "-").inc()
    return response


def _customize(hooks: KindHooks, body: Any) -> CustomizeResponse:
    return hooks.customize(_named(_parsed(CustomizeRequest, body).parent, hooks.kind))


def _finalize(hooks: KindHooks, body: Any) -> SyncResponse:
    return hooks.finalize(_asked(hooks, body))


def _with_etag(response: Response, known: str | None) -> Response:
    """Tag the answer by its content; 304 without a body when the caller has it already."""
    tag = f'"{hashlib.blake2b(response.body, digest_size=12).hexdigest()}"'
    if known == tag:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return response
