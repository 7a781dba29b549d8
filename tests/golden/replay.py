"""Golden cases: requests that a real Metacontroller sent, and the answers we stand by.

A case is `<kind>/<scenario>/NN-what.request.json`. Its answer is `NN-what.response.json`, written by `pytest --bless`
and reviewed in the diff. Requests to the two other hooks are `NN-what.customize-request.json` and
`NN-what.finalize-request.json`, answered in `-response.json` beside them.

The clock of a replay is the newest time in the request, so it needs no other input;
`settings.json` here is what the requests were captured with; one beside the requests holds what a scenario changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from app.hooks.kinds import DECORATORS, HOOKS
from app.kube.conditions import parse_time
from app.metacontroller.protocol import (
    CustomizeRequest,
    DecorateRequest,
    DecorateResponse,
    SyncRequest,
    SyncResponse,
)
from app.settings import Settings

FOLDER = Path(__file__).parent
REQUESTS = sorted(FOLDER.glob("*/*/*.request.json"))
ANSWERS = sorted(FOLDER.glob("*/*/*.response.json"))
OTHER_REQUESTS = sorted(FOLDER.glob("*/*/*-request.json"))
OTHER_ANSWERS = sorted(FOLDER.glob("*/*/*-response.json"))

_TIME = re.compile(r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"')


def case_name(path: Path) -> str:
    return str(path.relative_to(FOLDER)).removesuffix(".request.json").removesuffix(".response.json")


def kind_of(path: Path) -> str:
    return path.relative_to(FOLDER).parts[0]


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def answer_path(request: Path) -> Path:
    return request.with_name(request.name.removesuffix("request.json") + "response.json")


def request_path(answer: Path) -> Path:
    return answer.with_name(answer.name.removesuffix("response.json") + "request.json")


def newest_time(request: Any) -> datetime:
    """The moment of a replay."""
    times = [moment for text in _TIME.findall(json.dumps(request)) if (moment := parse_time(text))]
    return max(times)


def settings_of(path: Path) -> Settings:
    file = path.parent / "settings.json"
    return settings_with(load(file) if file.exists() else {})


def settings_with(changed: Mapping[str, Any]) -> Settings:
    """The settings that requests were captured with, but for these."""
    return Settings(**{**load(FOLDER / "settings.json"), **changed})


def replay(path: Path, request: Any, now: datetime | None = None) -> dict[str, Any]:
    """Answer a request as the hook service would, as JSON."""
    return answer(kind_of(path), request, settings_of(path), now)


def answer(kind: str, request: Any, settings: Settings, now: datetime | None = None) -> dict[str, Any]:
    """As `replay`, without a file."""
    if kind in DECORATORS:
        return as_json(DECORATORS[kind].sync(DecorateRequest.model_validate(request), settings))
    now = now or newest_time(request)
    return as_json(HOOKS[kind].sync(SyncRequest.model_validate(request), settings, now))


def replay_other(path: Path, request: Any, hook: str = "") -> dict[str, Any]:
    """Answer a customize or finalize request as the hook service would, as JSON; neither knows settings or a clock.
    `hook` where the file's name does not tell it."""
    told = "customize" if ".customize-" in path.name else "finalize"
    return answer_other(kind_of(path), hook or told, request)


def answer_other(kind: str, hook: str, request: Any) -> dict[str, Any]:
    """As `replay_other`, without a file."""
    hooks = HOOKS[kind]
    if hook == "customize":
        asked = hooks.customize(CustomizeRequest.model_validate(request).parent)
        return asked.model_dump(mode="json", by_alias=True, exclude_none=True)
    return as_json(hooks.finalize(SyncRequest.model_validate(request)))


def as_json(response: SyncResponse | DecorateResponse) -> dict[str, Any]:
    """What goes over the wire, the children in a fixed order; null means something inside labels only."""
    answer = response.model_dump(mode="json", by_alias=True)
    ordered = {children_of(answer): sorted(answer[children_of(answer)], key=child_key)}
    return {key: value for key, value in answer.items() if value is not None} | ordered


def children_of(message: dict[str, Any]) -> str:
    """What a request or an answer calls the objects that are ours."""
    return "children" if "children" in message else "attachments"


def child_key(child: dict[str, Any]) -> tuple[str, str, str, str]:
    metadata = child["metadata"]
    return child["apiVersion"], child["kind"], metadata.get("namespace", ""), metadata["name"]
