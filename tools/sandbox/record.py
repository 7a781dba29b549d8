"""The hook service, keeping every sync request that it answers: `python -m tools.sandbox.record --port 8080 FOLDER`.

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


def record_into(folder: Path, application: FastAPI) -> FastAPI:
    """Write the body of each POST to /sync/<kind> as <kind>/<namespace>.<name>/<number>.json below `folder`.

    Objects without a namespace have the folder <kind>/<name>.
    """
    numbers = itertools.count(1)

    async def keep(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method == "POST" and request.url.path.startswith("/sync/"):
            _write(folder, request.url.path.removeprefix("/sync/"), await request.body(), next(numbers))
        return await call_next(request)

    application.middleware("http")(keep)
    return application


def _write(folder: Path, kind: str, body: bytes, number: int) -> None:
    request = json.loads(body)
    metadata = request["parent" if "parent" in request else "object"]["metadata"]
    target = folder / kind / ".".join(metadata[part] for part in ("namespace", "name") if part in metadata)
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{number:05}.json").write_text(json.dumps(request, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.sandbox.record", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="loopback port to answer at (default: 8080)")
    parser.add_argument("folder", type=Path, help="where requests are kept")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    uvicorn.run(record_into(arguments.folder, hooks), host="127.0.0.1", port=arguments.port, access_log=False)


if __name__ == "__main__":
    main()
