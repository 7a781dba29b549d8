"""How every program of the operator logs: one line an event on standard output, JSON in a pod and text on a terminal.

    {"time": "...Z", "level": "warning", "logger": "app.http", "message": "...", "kind": ..., "namespace": ..., "name":
     ..., further fields, "traceback": "..."}
    2026-01-02T03:04:05.678Z WARNING app.http ... kind=... namespace=... name=... further=fields

A message is a constant where it can be, and what varies is a field (`fields`). Whose object a line is about is said by
the line itself, or by the block that it is written in (`about`). Secrets leave by no line, whoever wrote it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO

from app.contracts.sources import SOURCES

log = logging.getLogger(__name__)

LEVEL, FORMAT = "INFERENCE_LOG_LEVEL", "INFERENCE_LOG_FORMAT"
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "text"]
IDENTITY: Final = ("kind", "namespace", "name")
LIBRARIES = ("httpx2", "httpcore2", "httpx", "httpcore", "botocore", "boto3", "urllib3", "google", "asyncio")
"""They tell of every request; their warnings are kept."""
_OWN = frozenset({"time", "level", "logger", "message", "traceback"})

_process: dict[str, str] = {}
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - it is never changed


@contextmanager
def about(kind: str, namespace: str, name: str) -> Iterator[None]:
    """Every line that is written in this block names that object; a namespace that is "" is left out."""
    said = {"kind": kind, "namespace": namespace, "name": name}
    token = _about.set({key: value for key, value in said.items() if value})
    try:
        yield
    finally:
        _about.reset(token)


def process_is_about(kind: str, namespace: str, name: str) -> None:
    """Every line of this process names that object, those of its threads included; "" takes it back."""
    _process.clear()
    if name:
        _process.update(kind=kind, namespace=namespace, name=name)


def fields(**values: object) -> dict[str, object]:
    """The `extra` of a line: what it says beside its message. kind, namespace and name are those of the object that it
    is about."""
    return {"fields": values}


def set_up(
    level: str = "", format: str = "", stream: TextIO | None = None, environment: Mapping[str, str] = os.environ
) -> None:
    """Log this way from now on, libraries included. `level` and `format` are settings; "" takes them from the
    environment, and what cannot be used there counts as not set: a download does not end for it."""
    stream = stream or sys.stdout
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_choose(format or environment.get(FORMAT, ""), stream, environment))
    numbers = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
    logging.basicConfig(
        level=numbers.get((level or environment.get(LEVEL, "")).lower(), logging.INFO), handlers=[handler], force=True
    )
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    sys.excepthook = _log_end


def _log_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the program is a line like any other."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        log.critical("the program ends because of a bug", exc_info=(kind, error, trace))


def _choose(format: str, stream: TextIO, environment: Mapping[str, str]) -> logging.Formatter:
    in_pod = bool(environment.get("KUBERNETES_SERVICE_HOST")) and not stream.isatty()
    return JSONFormatter() if format == "json" or (format != "text" and in_pod) else TextFormatter()


class JSONFormatter(logging.Formatter):
    """One JSON object a line; an exception is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
            **{key: _plain(value) for key, value in _fields(record).items()},
        }
        if trace := _traceback(record):
            line["traceback"] = trace
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`time LEVEL logger message key=value ...`, and a traceback on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        said = " ".join(f"{key}={_quoted(str(_plain(value)))}" for key, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname} {record.name} {redact(record.getMessage())} {said}".rstrip()
        trace = _traceback(record)
        return f"{line}\n{trace}" if trace else line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The object first, then what the line adds. A field never takes the place of the line's own."""
    found = {**_process, **_about.get(), **getattr(record, "fields", {})}
    first = {key: found[key] for key in IDENTITY if found.get(key)}
    return first | {(f"{key}_" if key in _OWN else key): it for key, it in found.items() if key not in IDENTITY}


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float) or value is None else redact(str(value))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return redact("".join(traceback.format_exception(record.exc_info[1])).rstrip())


def _quoted(text: str) -> str:
    plain = text and not any(character in text for character in ' "=\n')
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


# Secrets

_SECRETS = tuple(name for it in SOURCES for name in (*it.credentials.values, *it.credentials.others))
_URL = re.compile(
    # Quotes may stand in user and query, and people put a / into a password: only white space ends them for sure.
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/?#:]*:\S*@|[^\s/?#]*@)?(?P<rest>[^\s?#]*)(?P<query>[?#]\S*)?"
)
_BEARER = re.compile(r"(?i)\b((?:authorization:\s*)?(?:bearer|basic)|authorization:)\s+\S+")
_INPUT = re.compile(r"input_value=.*?, input_type=", re.S)
"""What pydantic quotes of a value that does not fit: it may be a variable that a user gave a server."""


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without secrets: no user or query in a URL, no bearer token, no value of a secret variable, nothing that
    pydantic quotes."""
    for secret in _secrets(os.environ if environment is None else environment):
        text = text.replace(secret, "***")
    if "input_value=" in text:
        text = _INPUT.sub("input_value=***, input_type=", text)
    return _BEARER.sub(r"\1 ***", _URL.sub(_bare_url, text))


def _secrets(environment: Mapping[str, str]) -> Iterable[str]:
    return (value for name in _SECRETS if len(value := environment.get(name, "").strip()) > 3)


def _bare_url(match: re.Match[str]) -> str:
    user, query = "***@" if match["user"] else "", "?***" if match["query"] else ""
    return f"{match['scheme']}{user}{match['rest']}{query}"
