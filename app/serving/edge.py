"""One call of a hook at the edge: let in, identified, worked on within bounds, answered.

A call that is one too many is answered 429 with Retry-After, which Metacontroller obeys to the second. An object whose
hook takes too much, a culprit, is answered 503 for itself alone, and is not tried for longer each time; Metacontroller
asks again in its own growing intervals and writes an event on the object.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app import metrics
from app.hooks.kinds import DECORATORS, HOOKS
from app.log import fields
from app.serving.answer import Answer, BadRequestError, Call, answer, check_route, refusal
from app.serving.backoff import Backoff, Culprit
from app.serving.identity import NOBODY, Asked, find_asked
from app.serving.lane import MEBI, Lane, OverloadError, RefusedError
from app.serving.limit import TooSlowError, run_limited
from app.serving.pools import read_limits
from app.serving.workers import NoWorkerError, OverrunError, Workers
from app.settings import Settings

log = logging.getLogger("app.http")

INLINE_SECONDS = 1.0
"""Processor time of a hook on the event loop; the largest golden request takes a hundredth of it."""
HUNG_UP = 499
"""What the metrics say of a client that did not wait, as nginx does; nothing is sent."""


def _pool_lane() -> Lane:
    return Lane(most_body=64 * MEBI, most_held=64 * MEBI, most_requests=16)


def _other_lane() -> Lane:
    return Lane(most_body=4 * MEBI, most_held=64 * MEBI, most_requests=256)


@dataclass(frozen=True)
class Edge:
    """What the calls of one application share."""

    settings: Settings
    workers: Workers
    backoff: Backoff = field(default_factory=Backoff)
    pools: Lane = field(default_factory=_pool_lane)
    others: Lane = field(default_factory=_other_lane)
    inline_seconds: float = INLINE_SECONDS

    async def respond(self, request: Request, call: Call) -> Response:
        """The response to one call; what is wrong with it is a response too."""
        started = time.perf_counter()
        response = await self._guarded(request, call)
        kind = _kind_label(call.kind)
        metrics.HOOK_REQUESTS.labels(call.hook, kind, str(response.status_code)).inc()
        metrics.HOOK_SECONDS.labels(call.hook, kind).observe(time.perf_counter() - started)
        return response

    async def _guarded(self, request: Request, call: Call) -> Response:
        try:
            check_route(call.hook, call.kind)
            return _sent(await self._answered(request, call), request.headers.get("if-none-match"))
        except BadRequestError as error:
            return _sent(refusal(error.code, str(error)))
        except RefusedError as error:
            return _refused(error)
        except ClientDisconnect:
            log.debug("the client hung up", extra=fields(kind=_kind_name(call.kind), hook=call.hook))
            return Response(status_code=HUNG_UP)

    async def _answered(self, request: Request, call: Call) -> Answer:
        """Raises BadRequestError, RefusedError and ClientDisconnect."""
        large = call.kind == "gpupool" and call.hook != "customize"
        with (self.pools if large else self.others).entered(request) as body:
            content = await body.read()
            asked = find_asked(content)
            culprit = call.kind, asked.uid
            self._check_backoff(culprit)
            try:
                found = await self._decided(call, content) if large else self._inline(call, content)
            except (OverrunError, TooSlowError, MemoryError) as error:
                raise self._failed(call, asked, str(error)) from None
        self.backoff.succeeded(culprit)
        if found.stray:
            metrics.STRAY_ANSWERS.labels(_kind_label(call.kind), found.stray).inc()
        if call.hook == "sync" and found.code == 200:
            metrics.DECISIONS.labels(_decided_label(call.kind), metrics.phase_label(found.phase)).inc()
            if large:
                metrics.POOL_LIMITS.record(asked.name, read_limits(found.body))
        return found

    def _inline(self, call: Call, body: bytearray) -> Answer:
        return run_limited(lambda: answer(call, body, self.settings), self.inline_seconds)

    async def _decided(self, call: Call, body: bytearray) -> Answer:
        try:
            return await self.workers.answer(call, body)
        except NoWorkerError:
            raise OverloadError from None

    def _check_backoff(self, culprit: Culprit) -> None:
        if seconds := self.backoff.remaining(culprit, time.monotonic()):
            raise _not_now(culprit[0], seconds)

    def _failed(self, call: Call, asked: Asked, why: str) -> RefusedError:
        """What is answered to a call whose work was ended; its object waits from now on."""
        culprit = call.kind, asked.uid
        seconds = self.backoff.failed(culprit, time.monotonic()) if asked.uid != NOBODY else 1.0
        why = why or f"took more than {self.inline_seconds:g} s of processor time or too much memory"
        extra = fields(
            kind=_kind_name(call.kind), namespace=asked.namespace, name=asked.name, hook=call.hook, uid=asked.uid
        )
        log.warning("the hook was ended: it %s; its object waits %.0f s", why, seconds, extra=extra)
        metrics.ENDED.labels(_kind_label(call.kind)).inc()
        return _not_now(call.kind, seconds)


def _kind_label(kind: str) -> str:
    """Labels come from fixed sets: a label's values are kept as long as the process lives."""
    return kind if kind in HOOKS or kind in DECORATORS else "unknown"


def _kind_name(kind: str) -> str:
    known = DECORATORS.get(kind) or HOOKS.get(kind)
    return known.kind.name if known else kind


def _decided_label(kind: str) -> str:
    return DECORATORS[kind].kind.name if kind in DECORATORS else kind


def _not_now(kind: str, seconds: float) -> RefusedError:
    message = f"the hook of this {kind} took too long or too much memory; it is not tried for {math.ceil(seconds)} s"
    return RefusedError(503, message, math.ceil(seconds))


def _refused(error: RefusedError) -> Response:
    response = _sent(refusal(error.code, str(error)))
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.code in (408, 413):
        response.headers["Connection"] = "close"  # what is left of the body is not read
    return response


def _sent(found: Answer, known: str | None = None) -> Response:
    """Tagged by its content; 304 without a body when the caller has it already."""
    if found.code != 200:
        return Response(found.body, found.code, media_type="application/json")
    headers = {"ETag": found.tag}
    if known == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type="application/json", headers=headers)
