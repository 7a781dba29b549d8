"""Bounds of what users may write, for the CRDs and for the models alike.

Without them one object could hold a megabyte in a field that is read for its first few characters, and its sync would
take seconds that all other objects wait for. What Kubernetes bounds itself has Kubernetes' bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

NAME = 253
"""Characters of an object's name."""
KEY = 317
"""Characters of a label's, an annotation's or a resource's name: prefix, slash and name."""
LABEL_VALUE = 63
ENTRIES = 256
"""Of a map."""
TEXT = 65_536
"""Characters of free text, such as a chat template."""
MESSAGE = 32_768
"""Characters of a sentence in a status, as the API server bounds those of conditions."""
ITEMS = 16_384
"""Of a list that the operator writes: more would not fit in an object of 1.5 MiB either."""
NUMBER = 2**53
"""The largest whole number that every JSON reader keeps exact."""
GROUP_NODES = 256
"""Nodes (pods) of one group."""
GROUP_GPUS = 4096
"""GPUs of one group, or of one node."""
GROUPS = 10_000
"""A number beyond it is a slip; the pool looks at every group that is asked for."""
TOKENS = 1_000_000_000
"""Of one sequence."""


@dataclass(frozen=True)
class MapBounds:
    """Bounds of a map of texts: of how many entries, of how many characters each key and all together."""

    key: int = KEY
    entries: int = ENTRIES
    total: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        rules = [{"rule": f"self.all(key, key.size() <= {self.key})", "message": self._long_key}]
        if self.total is not None:
            size = "self.map(key, key.size() + self[key].size()).sum()"
            rules.append({"rule": f"{size} <= {self.total}", "message": self._too_large})
        return handler(schema) | {"maxProperties": self.entries, "x-kubernetes-validations": rules}

    def check(self, given: object) -> object:
        """The map as it is; ValueError when it is past a bound."""
        if not isinstance(given, Mapping):
            return given
        if len(given) > self.entries:
            raise ValueError(f"it has {len(given)} entries, {self.entries} are the most")
        if any(len(str(key)) > self.key for key in given):
            raise ValueError(self._long_key)
        if self.total is not None and sum(len(str(key)) + _length(value) for key, value in given.items()) > self.total:
            raise ValueError(self._too_large)
        return given

    @property
    def _long_key(self) -> str:
        return f"a key can have {self.key} characters at most"

    @property
    def _too_large(self) -> str:
        return f"keys and values can have {self.total} characters at most together"


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0


@dataclass(frozen=True)
class JsonBounds:
    """Bounds of free JSON, which no schema can see into."""

    total: int
    """Bytes of its JSON."""
    values: int
    """Numbers, texts, lists and objects, at all levels: each is looked at."""
    depth: int
    key: int

    def check(self, given: Mapping[str, Any]) -> None:
        """ValueError when it is past a bound."""
        if any(len(key) > self.key for key in given):
            raise ValueError(f"a name can have {self.key} characters at most")
        self._check_shape(given)
        for key, value in given.items():
            if isinstance(value, str) and len(value) > TEXT:
                raise ValueError(f"{key} has {len(value)} characters, {TEXT} are the most")
        size = len(_json(given))
        if size > self.total:
            raise ValueError(f"it has {size} bytes as JSON, {self.total} are the most")

    def _check_shape(self, given: Mapping[str, Any]) -> None:
        """Level by level, and no further than the bounds reach."""
        level: list[Any] = [dict(given)]
        left = self.values
        for _ in range(self.depth):
            left -= sum(map(len, level))
            if left < 0:
                raise ValueError(f"it can hold {self.values} values at most, those in lists and objects too")
            level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
            if not level:
                return
        raise ValueError(f"it can be nested {self.depth} levels deep at most")


def _json(given: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(given)
    except TypeError as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from None


def _children(item: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item
