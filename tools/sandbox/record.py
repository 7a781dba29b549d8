"""The hook service, keeping every request that it answers: `python -m tools.sandbox.record --port 8080 FOLDER`.

A kept request can be replayed, looked at, or become a golden case. Requests hold whole objects, so keep them private.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response

from app.main import app as hooks

HOOKS = ("sync", "customize", "finalize")


def record_into(folder: Path, application: FastAPI) -> FastAPI:
    """Write the body of each POST to /sync/<kind> as <kind>/<namespace>.<name>/<number>.json below `folder`, and of
    those to /customize and /finalize as <number>.customize.json and <number>.finalize.json beside it.

    Objects without a namespace have the folder <kind>/<name>. Numbers go on where an earlier process left off.
    """
    numbers = itertools.count(1 + max((_number(path) for path in folder.glob("*/*/*.json")), default=0))

    async def keep(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        hook, _, kind = request.url.path.strip("/").partition("/")
        if request.method == "POST" and hook in HOOKS:
            _write(folder, hook, kind, await request.body(), next(numbers))
        return await call_next(request)

    application.middleware("http")(keep)
    return application


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _write(folder: Path, hook: str, kind: str, body: bytes, number: int) -> None:
    """Under its name only when it is whole: somebody may be reading along."""
    request = json.loads(body)
    metadata = request["parent" if "parent" in request else "object"]["metadata"]
    target = folder / kind / ".".join(metadata[part] for part in ("namespace", "name") if part in metadata)
    target.mkdir(parents=True, exist_ok=True)
    path = target / (f"{number:05}.json" if hook == "sync" else f"{number:05}.{hook}.json")
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(request, indent=1, sort_keys=True) + "\n")
    unfinished.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.sandbox.record", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="loopback port to answer at (default: 8080)")
    parser.add_argument("folder", type=Path, help="where requests are kept")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    uvicorn.run(record_into(arguments.folder, hooks), host="127.0.0.1", port=arguments.port, access_log=False)


if __name__ == "__main__":
    main()
