"""Typed reading of a config.json: a field, or the reason why it makes no sense.

Missing and null are the same: the model's code has a default then, which the caller gives. What is there and wrong is
never passed over, for a model must not look smaller than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.topology.codec import LARGEST

_SHOWN = 40
"""Characters of a wrong value that a reason repeats."""


class UnreadableError(ValueError):
    """The message is a sentence for the user; it never leaves the module `config`."""


@dataclass(frozen=True)
class Fields:
    """One JSON object of the file; `path` leads to it, for reasons."""

    content: Mapping[str, object]
    path: str = ""

    def has(self, key: str) -> bool:
        return self.content.get(key) is not None

    def count(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number from `least` to LARGEST."""
        value = self.content.get(key)
        if value is None:
            if default is None:
                raise UnreadableError(f"{self._name(key)} is missing")
            return default
        if type(value) is not int or not least <= value <= LARGEST:
            raise UnreadableError(f"{self._name(key)} must be a whole number of {least} or more, not {shown(value)}")
        return value

    def number(self, key: str, default: float) -> float:
        """A number above 0."""
        value = self.content.get(key, default)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise UnreadableError(f"{self._name(key)} must be a number above 0, not {shown(value)}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.content.get(key)
        if value is not None and not isinstance(value, bool):
            raise UnreadableError(f"{self._name(key)} must be true or false, not {shown(value)}")
        return default if value is None else value

    def text(self, key: str, default: str = "") -> str:
        value = self.content.get(key)
        if value is not None and not isinstance(value, str):
            raise UnreadableError(f"{self._name(key)} must be a text, not {shown(value)}")
        return default if value is None else value

    def list(self, key: str) -> Sequence[object]:
        value = self.content.get(key)
        if value is not None and not isinstance(value, list | tuple):
            raise UnreadableError(f"{self._name(key)} must be a list, not {shown(value)}")
        return value or ()

    def texts(self, key: str) -> tuple[str, ...]:
        found = tuple(item for item in self.list(key) if isinstance(item, str))
        if len(found) < len(self.list(key)):
            raise UnreadableError(f"{self._name(key)} must be a list of texts")
        return found

    def counts(self, key: str, least: int = 0) -> tuple[int, ...]:
        found = tuple(item for item in self.list(key) if type(item) is int and least <= item <= LARGEST)
        if len(found) < len(self.list(key)):
            raise UnreadableError(f"{self._name(key)} must be a list of whole numbers of {least} or more")
        return found

    def part(self, key: str) -> Fields | None:
        """An object inside this one, None when it is missing or empty."""
        value = self.content.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise UnreadableError(f"{self._name(key)} must be an object, not {shown(value)}")
        return Fields(value, f"{self._name(key)}.") if value else None

    def _name(self, key: str) -> str:
        return f"{self.path}{key}"


def shown(value: object) -> str:
    """A value as a reason repeats it; only numbers, flags and short texts are."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return "a number beyond 2^53"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
