"""Files -> Kubernetes objects. Every mistake is a sentence that names the file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from app.cli.errors import InputError
from app.kube.lenient import mappings_at, text_at
from app.kube.manifest import Manifest

STDIN = "-"
_LISTS = ("List", "NodeList", "InferenceServiceList", "ModelCacheList")


def read_documents(path: str) -> list[Manifest]:
    """All objects of a YAML or JSON file; lists, as `kubectl get -o yaml` prints them, are taken apart."""
    try:
        documents = list(yaml.load_all(read_text(path), Loader=_LOADER))
    except yaml.YAMLError as error:
        raise InputError(f"{_shown(path)} is not YAML: {_where(error)}") from None
    return [it for document in documents if document is not None for it in _objects(path, document)]


def read_json(path: str) -> Any:
    """The one value of a JSON file."""
    try:
        return orjson.loads(read_text(path))
    except orjson.JSONDecodeError as error:
        raise InputError(f"{_shown(path)} is not JSON: {error}") from None


def read_text(path: str) -> str:
    try:
        return sys.stdin.read() if path == STDIN else Path(path).read_text()
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
