"""Frozen dataclasses <-> plain JSON values: `kv_heads` is written `kvHeads`, and what equals its default is left out.

Reading tells three cases apart. A key that is missing (or null) takes the field's default; without a default the whole
is unreadable. Unknown keys are passed over. A key that is there and wrong makes the whole unreadable too: to read a
broken list of experts as "no experts" would make a model look smaller than it is. Whole numbers end at 2^53, where
JSON's readers stop to agree on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
LARGEST = 2**53


class _UnreadableError(ValueError):
    """The message is for the debugger; callers of this module see None."""


def read(kind: type[T], raw: Mapping[str, object]) -> T | None:
    """The dataclass in a mapping, None when a needed part is missing or wrong.

    Whole numbers must be at least 1, or 0 where 0 is the default, and at most LARGEST; a bool is no number.
    """
    try:
        return _dataclass(kind, raw)
    except _UnreadableError:
        return None


def to_schema(kind: type, text: int, items: int) -> dict[str, Any]:
    """The OpenAPI schema of what `to_json` writes, with bounds for texts and lists."""
    hints = get_type_hints(kind)
    properties = {
        _key(item.name): _schema(hints[item.name], text, items) | {"description": _words(item.name)}
        for item in _fields(kind)
    }
    return {"type": "object", "properties": properties}


def _schema(hint: Any, text: int, items: int) -> dict[str, Any]:
    if isinstance(hint, UnionType):
        hint = get_args(hint)[0]
    if is_dataclass(hint) and isinstance(hint, type):
        return to_schema(hint, text, items)
    if get_origin(hint) is tuple:
        return {"type": "array", "maxItems": items, "items": _schema(get_args(hint)[0], text, items)}
    scalars: dict[Any, dict[str, Any]] = {
        str: {"type": "string", "maxLength": text},
        int: {"type": "integer", "minimum": 0, "maximum": LARGEST},
        bool: {"type": "boolean"},
    }
    return dict(scalars[hint])


def _words(name: str) -> str:
    return f"{name.replace('_', ' ').capitalize()}."


def to_json(value: object) -> dict[str, object]:
    """The mapping from which `read` makes an equal dataclass."""
    pairs = ((item, getattr(value, item.name)) for item in _fields(type(value)))
    return {_key(item.name): _plain(content) for item, content in pairs if content != item.default}


def _dataclass(kind: type[T], raw: object) -> T:
    if not isinstance(raw, Mapping):
        raise _UnreadableError(f"{raw!r} is no mapping")
    hints = get_type_hints(kind)
    given = ((item, raw.get(_key(item.name))) for item in _fields(kind))
    contents = {item.name: _value(hints[item.name], item, content) for item, content in given if content is not None}
    missing = [item.name for item in _fields(kind) if item.default is MISSING and item.name not in contents]
    if missing:
        raise _UnreadableError(f"{kind.__name__} lacks {missing}")
    return kind(**contents)


def _value(hint: Any, item: Field[Any], raw: object) -> object:
    if isinstance(hint, UnionType):
        hint = get_args(hint)[0]
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass(hint, raw)
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint)[0], raw)
    least = 0 if item.default == 0 else 1
    return _scalar(hint, raw, least)


def _tuple(hint: type, raw: object) -> tuple[object, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise _UnreadableError(f"{raw!r} is no list")
    return tuple(_scalar(hint, item, 1) for item in raw)


def _scalar(hint: type, raw: object, least: int) -> object:
    if type(raw) is not hint or (type(raw) is int and not least <= raw <= LARGEST):
        raise _UnreadableError(f"{raw!r} is no {hint.__name__} from {least} on")
    return raw


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return to_json(value) if is_dataclass(value) else value


def _fields(kind: type) -> tuple[Field[Any], ...]:
    return fields(kind)


def _key(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
