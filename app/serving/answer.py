"""The hooks as a pure function of bytes: the body of a request -> the code and the body of its answer.

It runs in the process that serves HTTP, and for pools in a worker process. A hook that cannot answer the whole desired
state must not answer 200: Metacontroller deletes every child that a 200 leaves out, and changes nothing at all on any
other code. So a malformed call is a 4xx and a bug is a 500, both JSON.
"""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from app.api.schema import Kind
from app.hooks.home import StrayAnswerError
from app.hooks.kinds import DECORATORS, HOOKS, Decorator, KindHooks
from app.kube.lenient import mapping_at, text_at
from app.log import fields
from app.metacontroller.protocol import (
    CustomizeRequest,
    CustomizeResponse,
    DecorateRequest,
    DecorateResponse,
    Parent,
    SyncRequest,
    SyncResponse,
)
from app.serving.reading import TooMuchError, read_body
from app.settings import Settings

log = logging.getLogger("app.http")

Wire = TypeVar("Wire", bound=BaseModel)


@dataclass(frozen=True)
class Call:
    """One call of a hook, without its body."""

    hook: str
    """sync, customize or finalize."""
    kind: str
    """The last part of the URL: a key of HOOKS or DECORATORS."""
    now: datetime


@dataclass(frozen=True)
class Answer:
    """What is sent back, and what the metrics say of it."""

    code: int
    body: bytes
    phase: str = ""
    """The phase that a sync answered; it may be anything that was once stored in a status."""
    stray: str = ""
    """Why the hook's answer was not sent, see app.hooks.home."""

    @property
    def tag(self) -> str:
        """The answer's ETag, by its content."""
        return f'"{hashlib.blake2b(self.body, digest_size=12).hexdigest()}"'


class BadRequestError(Exception):
    """The caller's mistake: becomes a JSON answer with this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_route(hook: str, kind: str) -> None:
    """Raises BadRequestError where there is no such hook."""
    if kind in DECORATORS and hook != "sync":
        raise BadRequestError(404, f"a {kind} is attached to objects of others: it has no hook but sync")
    if kind not in HOOKS and kind not in DECORATORS:
        raise BadRequestError(404, f"there is no kind {kind!r}; known are {', '.join(sorted({*HOOKS, *DECORATORS}))}")


def answer(call: Call, body: bytes | bytearray, settings: Settings) -> Answer:
    """Parse, call the hook, and write its answer. Raises nothing but MemoryError."""
    with _collecting_later():
        return _answer(call, body, settings)


@contextmanager
def _collecting_later() -> Iterator[None]:
    """A body of many small parts makes Python's garbage collector look through all of them again and again, which takes
    fifteen times as long as the parser. They go with the request, and what is left of it at the next collection."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _answer(call: Call, body: bytes | bytearray, settings: Settings) -> Answer:
    parsed: Any = None
    try:
        check_route(call.hook, call.kind)
        parsed = _parsed_json(call.kind, body)
        response, phase = _respond(call, parsed, settings)
        return Answer(200, msgspec.json.encode(_wire(response)), phase)
    except BadRequestError as error:
        return refusal(error.code, str(error))
    except StrayAnswerError as error:
        extra = fields(**_parent(call, parsed), hook=call.hook, error=error)
        log.error("the hook's answer was not sent; nothing was changed", extra=extra)
        return refusal(500, f"the answer was not sent, and nothing was changed: {error}", error.reason)
    except MemoryError:
        raise
    except Exception:
        log.exception("the hook failed; nothing was changed", extra=fields(**_parent(call, parsed), hook=call.hook))
        message = (
            f"{call.hook} of a {call.kind} failed because of a bug in the operator; nothing was changed, see its log"
        )
        return refusal(500, message)


def _parent(call: Call, body: Any) -> dict[str, str]:
    """What a line of the log says of the object that the call is about; of the rest of the body it says nothing."""
    known = DECORATORS.get(call.kind) or HOOKS[call.kind]
    metadata = mapping_at(body, "object" if call.kind in DECORATORS else "parent", "metadata")
    return {"kind": known.kind.name, "namespace": text_at(metadata, "namespace"), "name": text_at(metadata, "name")}


def refusal(code: int, message: str, stray: str = "") -> Answer:
    """An answer that changes nothing in the cluster."""
    return Answer(code, msgspec.json.encode({"error": message}), stray=stray)


def _respond(call: Call, body: Any, settings: Settings) -> tuple[BaseModel, str]:
    """What the hook says, and the phase in it."""
    if call.kind in DECORATORS:
        return _decorate(DECORATORS[call.kind], body, settings), ""
    hooks = HOOKS[call.kind]
    if call.hook == "customize":
        return _customize(hooks, body), ""
    if call.hook == "finalize":
        return _finalize(hooks, body), ""
    response = _sync(hooks, body, settings, call.now)
    return response, str(response.status.get("phase") or "")


def _sync(hooks: KindHooks, body: Any, settings: Settings, now: datetime) -> SyncResponse:
    return hooks.sync(_asked(hooks, body), settings, now)


def _decorate(decorator: Decorator, body: Any, settings: Settings) -> DecorateResponse:
    request = _parsed(DecorateRequest, body)
    _named(request.object, decorator.kind)
    return decorator.sync(request, settings)


def _customize(hooks: KindHooks, body: Any) -> CustomizeResponse:
    return hooks.customize(_named(_parsed(CustomizeRequest, body).parent, hooks.kind))


def _finalize(hooks: KindHooks, body: Any) -> SyncResponse:
    return hooks.finalize(_asked(hooks, body))


def _asked(hooks: KindHooks, body: Any) -> SyncRequest:
    request = _parsed(SyncRequest, body)
    _named(request.parent, hooks.kind)
    if misplaced := next(request.misplaced(), ""):
        raise BadRequestError(400, f"not a SyncRequest: children.{misplaced[:300]} is not what its keys say")
    return request


def _named(parent: Parent, kind: Kind) -> Parent:
    """Every look-up goes by the object's exact namespace and name."""
    for field in ("name", "namespace") if kind.scope == "Namespaced" else ("name",):
        if not isinstance(parent.metadata.get(field), str) or not parent.metadata[field]:
            raise BadRequestError(400, f"no {kind.name}: metadata.{field} is missing")
    return parent


def _parsed_json(kind: str, body: bytes | bytearray) -> Any:
    """A pool's with no second copy of the body on the way, which the worker's bound on memory counts on."""
    is_tenants = kind in HOOKS and HOOKS[kind].kind.scope == "Namespaced"
    try:
        return read_body(body, kind) if is_tenants else msgspec.json.decode(body)
    except TooMuchError as error:
        raise BadRequestError(413, f"{error}; nothing was changed") from None
    except RecursionError:
        raise BadRequestError(400, "the body is nested too deeply; nothing was changed") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(400, f"the body is not JSON: {error}") from None


def _parsed(model: type[Wire], value: Any) -> Wire:
    try:
        wire = model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise BadRequestError(400, f"not a {model.__name__}: {where}: {first['msg']}") from None
    return wire


def _wire(response: BaseModel) -> Mapping[str, Any]:
    """The answer as Metacontroller reads it; children and status are JSON already and need no validation."""
    return {
        field.serialization_alias or name: value
        for name, field in type(response).model_fields.items()
        if (value := _plain(getattr(response, name))) is not None
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump(by_alias=True, exclude_none=True) if isinstance(value, BaseModel) else value
