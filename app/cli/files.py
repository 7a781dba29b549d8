"""Files -> Kubernetes objects, JSON and settings; what cannot be read becomes a sentence that names the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from app.cli.errors import CliError
from app.kube.manifest import Manifest
from app.settings import Settings

STDIN = Path("-")
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path) -> str:
    """The text of a file; "-" is standard input."""
    try:
        return sys.stdin.read() if path == STDIN else path.read_text()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CliError(f"{path} is not text in UTF-8") from None


def read_objects(path: Path) -> list[Manifest]:
    """The objects of a file in YAML or JSON, of all its documents; a List is taken apart."""
    try:
        documents = list(yaml.load_all(read_text(path), Loader=Loader))
    except yaml.YAMLError as error:
        raise CliError(f"{path} is not YAML: {_one_line(error)}") from None
    except (RecursionError, ValueError) as error:
        raise CliError(f"{path} is not YAML that can be read: {_one_line(error)}") from None
    return list(_objects(path, documents))


def _objects(path: Path, documents: Iterable[Any]) -> Iterable[Manifest]:
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise CliError(f"{path} has a document that is no Kubernetes object, but {_kind_of(document)}")
        items = document.get("items")
        yield from _objects(path, items) if isinstance(items, list) else (document,)


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise CliError(f"{path} is not JSON: {_one_line(error)}") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON object."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CliError(f"{path} holds {_kind_of(content)}, not a JSON object")
    return content


def read_settings(path: Path | None) -> Settings:
    """Settings of the environment, or those of a file like deploy/base/settings.env."""
    return build_settings({} if path is None else _pairs(path), str(path or "the environment"))


def build_settings(variables: dict[str, str], origin: str) -> Settings:
    """Settings from variables INFERENCE_*, over those of the environment."""
    given = {
        name.removeprefix("INFERENCE_").lower(): value
        for name, value in variables.items()
        if name.startswith("INFERENCE_")
    }
    try:
        return Settings(**{name: _value(name, value) for name, value in given.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise CliError(f"INFERENCE_{name.upper()} of {origin} is not accepted: {first['msg']}") from None


def _value(name: str, value: str) -> Any:
    """As pydantic-settings reads the environment: tolerations are JSON."""
    if name != "tolerations":
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise CliError(f"INFERENCE_TOLERATIONS is not JSON: {_one_line(error)}") from None


def _pairs(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in read_text(path).splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _kind_of(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing" if value is None else "an object")
