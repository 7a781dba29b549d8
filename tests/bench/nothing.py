"""A hook that does nothing: the cost of HTTP, JSON and FastAPI alone."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.post("/sync/{kind}")
async def sync(kind: str, request: Request) -> Response:
    """Read the request and give every child back."""
    body: dict[str, Any] = orjson.loads(await request.body())
    children = [child for group in body["children"].values() for child in group.values()]
    answer = {"status": body["parent"].get("status"), "children": children}
    return Response(orjson.dumps(answer), media_type="application/json")
