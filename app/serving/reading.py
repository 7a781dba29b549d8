"""The body of a call about a tenant's object, as much of it as may be read.

What a parser takes grows with the number of values. Tenants may fill an object of 1.5 MiB with empty lists where its
schema is open, or nest them 10,000 levels deep, at which every parser gives up. So a body that may hold many values, or
is too deep, is first taken apart by its outline, in a pass that builds nothing of what it steps over.

- `metadata.managedFields` and `finalizers`, which no hook reads, are left out.
- What the parent holds past its bounds is left out, and `unread` of the parent says so. Its hook keeps what runs.
- Where the other objects are still too much, there is no answer, and hence no change.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Raw

from app.api.v1alpha1.inferenceservice import ENGINE_ARGS
from app.kube.weight import holds_more, is_deeper, may_hold_more

OWN_VALUES = 65_536
"""JSON values of a parent and its children together. The largest that their schemas admit hold about 21,000."""
RELATED_VALUES = 32_768
"""JSON values of one related object."""
MARKS = 16_384
"""Labels of a parent, and its annotations, where it is too much as a whole."""
LEVELS = 10_000
"""How deep Go, and so the API server, lets JSON be nested. A level takes less than 100 bytes of the stack here. From
Python 3.12 on that is the parser's own limit, whatever is set: there the last few of them are too many."""
OPEN = ("vllm", "engineArgs")
"""The one part of a spec whose schema is open."""
_OPEN_KINDS = frozenset({"inferenceservice", "InferenceService.inference.ai/v1alpha1"})
_NEVER_READ = ("managedFields", "finalizers")

Fields = dict[str, Raw]
Objects = dict[str, dict[str, Fields]]


class _Parent(msgspec.Struct):
    metadata: Fields
    spec: Fields = msgspec.field(default_factory=dict)
    status: Raw = msgspec.field(default_factory=lambda: Raw(b"null"))
    unread: str = ""


class _Request(msgspec.Struct):
    parent: _Parent
    children: Objects = msgspec.field(default_factory=dict)
    related: Objects = msgspec.field(default_factory=dict)
    finalizing: bool = False


class TooMuchError(Exception):
    """Says which objects hold too much, and the bound."""


def read_body(body: bytes | bytearray, kind: str) -> Any:
    """The request, as JSON. `kind` is the last part of the URL.

    Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError and TooMuchError.
    """
    if not may_hold_more(body, OWN_VALUES):
        try:
            return msgspec.json.decode(body)
        except RecursionError:
            pass
    return msgspec.json.decode(_bounded(body, kind))


def _bounded(body: bytes | bytearray, kind: str) -> bytes:
    """The body without what is too much."""
    with _deep_recursion():
        request = msgspec.json.decode(body, type=_Request)
    parent = request.parent
    parent.unread = _take_arguments(parent.spec) if kind in _OPEN_KINDS else ""
    _take_never_read(parent.metadata)
    if holds_more(msgspec.json.encode(_counted(parent.metadata)), MARKS):
        parent.unread = _take_marks(parent.metadata) or parent.unread
    children, related = _trimmed(request.children), _trimmed(request.related)
    own = _counted(parent.metadata), parent.spec, parent.status, children
    if holds_more(msgspec.json.encode(own), OWN_VALUES):
        largest = max(children, key=lambda it: len(msgspec.json.encode(children[it])), default="")
        where = f"; of its children, {largest} is the largest" if largest else ""
        raise TooMuchError(f"the object and its children hold more than {OWN_VALUES} JSON values{where}")
    for name, item in related.items():
        if holds_more(msgspec.json.encode(item), RELATED_VALUES):
            raise TooMuchError(f"{name} holds more than {RELATED_VALUES} JSON values")
    return msgspec.json.encode(request)


def _trimmed(objects: Objects) -> dict[str, Fields]:
    """Trims each object. Answers them as they count, by kind and name."""
    return {f"{key} {name}": _trim(key, item) for key, group in objects.items() for name, item in group.items()}


def _trim(key: str, item: Fields) -> Fields:
    """The object as it counts; what is left out of it is left out of `item`, too. `key` is Kind.group/version."""
    metadata, _ = _members(item.get("metadata"))
    if any(name in metadata for name in _NEVER_READ):
        _take_never_read(metadata)
        item["metadata"] = _raw(metadata)
    if key in _OPEN_KINDS:
        spec, _ = _members(item.get("spec"))
        if _take_arguments(spec):
            item["spec"] = _raw(spec)
    return item | {"metadata": _raw(_counted(metadata))}


def _counted(metadata: Fields) -> Fields:
    """With as many zeros as there are annotations: their texts are JSON of up to 256 KiB, and looked through slowly."""
    zeros = b"[" + b"0," * bytes(metadata.get("annotations", b"")).count(b'":"') + b"0]"
    return metadata | {"annotations": Raw(zeros)}


def _take_never_read(metadata: Fields) -> None:
    for name in _NEVER_READ:
        metadata.pop(name, None)


def _take_arguments(spec: Fields) -> str:
    """Why engineArgs were emptied, "" where they stay for the model to check."""
    outer, inner = OPEN
    members, is_deep = _members(spec.get(outer))
    problem = _argument_problem(bytes(members[inner]), is_deep) if inner in members else ""
    if problem:
        spec[outer] = _raw(members | {inner: Raw(b"{}")})
    return problem and f"spec.{outer}.{inner} is not accepted: {problem}"


def _argument_problem(text: bytes, is_deep: bool) -> str:
    size = f"it has {len(text)} bytes as JSON"
    most = ENGINE_ARGS.values + 1  # the whole is one
    if not is_deep and holds_more(text, most):
        return f"{size} and more than {ENGINE_ARGS.values} values, which are the most, those in lists and objects too"
    if is_deep or is_deeper(text, most, ENGINE_ARGS.depth):
        return f"{size}, nested deeper than {ENGINE_ARGS.depth} levels, which are the most"
    return ""


def _take_marks(metadata: Fields) -> str:
    """Why labels or annotations were emptied, "" where they stay."""
    problem = ""
    for name in ("labels", "annotations"):
        text = bytes(metadata.get(name, b""))
        if text.count(b'":"') > MARKS:
            metadata[name] = Raw(b"{}")
            problem = f"metadata.{name} are too many: {len(text)} bytes as JSON, {MARKS} of them are the most"
    return problem


def _members(raw: Raw | None) -> tuple[Fields, bool]:
    """Those of an object, none of anything else; and whether it is deeper than a parser goes."""
    if not raw or bytes(memoryview(raw)[:1]) != b"{":
        return {}, False
    try:
        return msgspec.json.decode(raw, type=Fields), False
    except RecursionError:
        with _deep_recursion():
            return msgspec.json.decode(raw, type=Fields), True


def _raw(fields: Fields) -> Raw:
    return Raw(msgspec.json.encode(fields))


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """For parsers that step over what is deep."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(usual + LEVELS)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)
