"""Hooks of a worker that take too much: handlers that tests name instead of the real one."""

from __future__ import annotations

import os
import time

import orjson

from app.serving.answer import Answer, Call
from app.settings import Settings


def handler(call: Call, body: bytes | bytearray, settings: Settings) -> Answer:
    """What the parent's spec.do says."""
    request = orjson.loads(body)
    match request["parent"]["spec"].get("do"):
        case "sleep":
            time.sleep(3600)
        case "spin":
            while True:
                pass
        case "hog":
            held = []
            while True:
                held.append(bytearray(16 << 20))
        case "die":
            os.abort()
        case "stray":
            return Answer(500, b"{}", stray="namespace")
    said = {"pid": os.getpid(), "image": settings.leader_image, "now": call.now.isoformat(), "size": len(body)}
    return Answer(200, orjson.dumps({"status": said, "children": []}), "Ready")
