"""Files -> Kubernetes objects. Every mistake is a sentence that names the file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from app.cli.inputs import InputError
from app.kube.lenient import mappings_at, text_at
from app.kube.manifest import Manifest

STDIN = "-"
DEEPEST = 200
"""Levels of nesting; a Kubernetes object has some twenty."""
_BRACKETS = re.compile(r"[][{}]")
_NO_NUMBER = re.compile(r"\b(NaN|Infinity)\b")
_LISTS = ("List", "NodeList", "InferenceServiceList", "ModelCacheList")


def read_documents(path: str) -> list[Manifest]:
    """All objects of a YAML or JSON file; lists, as `kubectl get -o yaml` prints them, are taken apart."""
    text = read_text(path)
    if _depth(text) > DEEPEST:
        raise InputError(f"{_shown(path)} is nested deeper than {DEEPEST} levels")
    try:
        documents = list(yaml.load_all(text, Loader=_LOADER))
        orjson.dumps(documents, option=orjson.OPT_NON_STR_KEYS)
    except yaml.YAMLError as error:
        raise InputError(f"{_shown(path)} is not YAML: {_where(error)}") from None
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise InputError(f"{_shown(path)} has something that no JSON can hold: {error}") from None
    return [it for document in documents if document is not None for it in _objects(path, document)]


def read_json(path: str) -> Any:
    """The one value of a JSON file."""
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f"{_shown(path)} is not JSON: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """JSON as Python's own writer makes it too: some models' config.json have Infinity in them. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not _NO_NUMBER.search(text if isinstance(text, str) else text.decode(errors="replace")):
            raise
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise error from None


def _depth(text: str) -> int:
    """Brackets that are open at once, at most: the parser's own limit is the process's stack."""
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(text):
        depth += 1 if bracket.group() in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def read_text(path: str) -> str:
    try:
        content = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{_shown(path)} is no text") from None


@contextmanager
def open_lines(path: str) -> Iterator[Iterable[bytes]]:
    """The lines of a file, one by one."""
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - what follows must not be taken for a fault of the file
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    with file:
        yield file


def of_kind(documents: list[Manifest], kind: str) -> list[Manifest]:
    return [document for document in documents if document.get("kind") == kind]


def _objects(path: str, document: Any) -> Iterator[Manifest]:
    if not isinstance(document, dict):
        raise InputError(f"{_shown(path)} holds no Kubernetes object, but {type(document).__name__}")
    if text_at(document, "kind") in _LISTS:
        yield from (dict(item) for item in mappings_at(document, "items"))
    else:
        yield document


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be parsed"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def _shown(path: str) -> str:
    return "standard input" if path == STDIN else path


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Times stay text, as they are in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_LOADER = _Loader
