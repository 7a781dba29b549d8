"""What the answer to a pool's sync says of its limits, for the metrics: read without building the rest of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.metrics import LimitUse


class _Status(msgspec.Struct):
    limits: list[LimitUseJson] = []


class LimitUseJson(msgspec.Struct):
    limit: int
    gpus: int
    used: int
    waiting: int


class _Answer(msgspec.Struct):
    status: _Status


_DECODER = msgspec.json.Decoder(_Answer)


def read_limits(answer: bytes) -> Sequence[LimitUse]:
    """Use of the limits, in their order; nothing where the answer tells none."""
    try:
        told = _DECODER.decode(answer).status.limits
    except msgspec.DecodeError:
        return ()
    return [LimitUse(it.limit, it.gpus, it.used, it.waiting) for it in told]
