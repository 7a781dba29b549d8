"""Reading objects of our own kinds that somebody else wrote, perhaps an earlier or a later version.

The API server checks such objects against the schema of their CRD, so nearly always they validate at once. What does
not is read field by field: a value that is missing or misshapen reads as the default of its field, or, where there is
none, as the empty value of its type. Misshapen items of lists and maps are left out, and so is an optional part without
what it must have. Bounds hold for those who write: a number or a text beyond them is read as it is. Nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

M = TypeVar("M", bound=BaseModel)
Reader = Callable[[Any], Any]

_UNREADABLE = object()


class _Field(NamedTuple):
    name: str
    alias: str
    read: Reader
    default: Callable[[], Any]
    required: bool


def read_model(model: type[M], value: object) -> M:
    """Whatever of the value can be read as this model."""
    try:
        return model.model_validate(value)
    except ValidationError:
        return _read_fields(model, value if isinstance(value, Mapping) else {})


def _read_fields(model: type[M], value: Mapping[Any, Any]) -> M:
    return model.model_construct(None, **{name: found for name, found, _ in _values(model, value)})


def _read_part(model: type[BaseModel], value: Any) -> Any:
    """An optional part, unreadable without what it must have."""
    try:
        return model.model_validate(value)
    except ValidationError:
        values = list(_values(model, value if isinstance(value, Mapping) else {}))
        if any(missing for _, _, missing in values):
            return _UNREADABLE
        return model.model_construct(None, **{name: found for name, found, _ in values})


def _values(model: type[BaseModel], value: Mapping[Any, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Name and value of each field, and whether it is one that had to be there and cannot be read."""
    for field in _fields(model):
        found = field.read(value[field.alias]) if field.alias in value else _UNREADABLE
        missing = found is _UNREADABLE
        yield field.name, field.default() if missing else found, missing and field.required


@cache
def _fields(model: type[BaseModel]) -> tuple[_Field, ...]:
    return tuple(
        _Field(name, field.alias or name, _reader(_annotation(field)), _default(field), field.is_required())
        for name, field in model.model_fields.items()
    )


def _annotation(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _default(field: FieldInfo) -> Callable[[], Any]:
    if not field.is_required():
        return lambda: field.get_default(call_default_factory=True)
    return lambda: _empty(field.annotation)


def _empty(annotation: Any) -> Any:
    plain = _plain(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return _read_fields(plain, {})
    # "" for an enumeration: it equals none of its values
    return plain() if plain in (int, float, bool, list, dict) else None if _is_optional(annotation) else ""


def _reader(annotation: Any) -> Reader:
    """value -> what can be read of it, or _UNREADABLE."""
    if _is_optional(annotation):
        return _optional(annotation)
    plain, arguments = _plain(annotation), get_args(_unannotated(annotation))
    if plain is list:
        return _list(_reader(arguments[0]))
    if plain is dict:
        return _map(_reader(arguments[1]))
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return lambda value: read_model(plain, value) if isinstance(value, Mapping) else _UNREADABLE
    return _scalar(annotation, plain)


def _scalar(annotation: Any, plain: Any) -> Reader:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    kind = str if plain is Literal or (isinstance(plain, type) and issubclass(plain, Enum)) else plain

    def read(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError:
            fits = isinstance(kind, type) and isinstance(value, kind) and not isinstance(value, bool)
            return value if fits else _UNREADABLE

    return read


def _optional(annotation: Any) -> Reader:
    members = [_part(it) for it in get_args(_unannotated(annotation)) if it is not NoneType]

    def read(value: Any) -> Any:
        if value is None:
            return None
        return next((found for it in members if (found := it(value)) is not _UNREADABLE), _UNREADABLE)

    return read


def _part(annotation: Any) -> Reader:
    plain = _plain(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return lambda value: _read_part(plain, value)
    return _reader(annotation)


def _list(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            return _UNREADABLE
        return [found for it in value if (found := item(it)) is not _UNREADABLE]

    return read


def _map(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return _UNREADABLE
        texts = ((key, item(it)) for key, it in value.items() if isinstance(key, str))
        return {key: found for key, found in texts if found is not _UNREADABLE}

    return read


def _unannotated(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _plain(annotation: Any) -> Any:
    """The class without its arguments: list for list[str]."""
    unannotated = _unannotated(annotation)
    return get_origin(unannotated) or unannotated


def _is_optional(annotation: Any) -> bool:
    return _plain(annotation) in (Union, UnionType)
