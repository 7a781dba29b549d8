"""The values of a config.json, which anybody may have written: each is read with its type, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.fit.codec import LARGEST


class ConfigError(ValueError):
    """The message says which value is missing or wrong."""


class Values:
    """One level of a config; `null` is the same as not being there."""

    def __init__(self, raw: Mapping[str, object], defaults: Mapping[str, object] | None = None) -> None:
        self._raw = {**(defaults or {}), **{key: value for key, value in raw.items() if value is not None}}

    def text_part(self, defaults: Mapping[str, object]) -> Values:
        """What is about the language model: of its own part in models that also see or hear, else everything."""
        text = self._raw.get("text_config")
        return Values({**self._raw, **text} if isinstance(text, Mapping) else self._raw, defaults)

    def find_count(self, key: str) -> int | None:
        """A whole number; None when it is missing or 0. ConfigError when it is anything else."""
        value = self._raw.get(key)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value <= LARGEST:
            raise ConfigError(f"{key} is {_shown(value)}, not a whole number")
        return value or None

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number of at least 1."""
        found = self.find_count(key) or default
        if not found:
            raise ConfigError(f"config.json has no {key}")
        return found

    def number(self, key: str) -> int:
        """Any whole number, 0 when it is missing."""
        value = self._raw.get(key, 0)
        if type(value) is not int or abs(value) > LARGEST:
            raise ConfigError(f"{key} is {_shown(value)}, not a whole number")
        return value

    def factor(self, key: str) -> float:
        """A number above 0, 1 when it is missing."""
        value = self._raw.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
            raise ConfigError(f"{key} is {_shown(value)}, not a number above 0")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._raw.get(key, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{key} is {_shown(value)}, not true or false")
        return value

    def word(self, key: str) -> str:
        """Text; "" when it is missing or no text."""
        value = self._raw.get(key)
        return value if isinstance(value, str) else ""

    def first(self, key: str) -> str:
        """The first text of a list."""
        names = self.names(key)
        if not names:
            raise ConfigError(f"config.json has no {key}")
        return names[0]

    def names(self, key: str) -> list[str]:
        return [item for item in self._list(key) if isinstance(item, str)]

    def numbers(self, key: str) -> list[int]:
        """Whole numbers from 0 on."""
        found = self._list(key)
        wrong = [item for item in found if type(item) is not int or not 0 <= item <= LARGEST]
        if wrong:
            raise ConfigError(f"{key} holds {_shown(wrong[0])}, not whole numbers")
        return [item for item in found if isinstance(item, int)]

    def part(self, key: str) -> Values | None:
        """A nested part, None when it is missing or no mapping."""
        value = self._raw.get(key)
        return Values(value) if isinstance(value, Mapping) else None

    def checked_part(self, key: str) -> Values | None:
        """A nested part, None when it is missing. ConfigError when it is no mapping: what it says would be lost."""
        value = self._raw.get(key)
        return None if value is None else _checked(key, value)

    def parts(self) -> list[Values]:
        """All nested parts, in the order of their names. ConfigError when something else is among them."""
        return [_checked(key, value) for key, value in sorted(self._raw.items())]

    def _list(self, key: str) -> Sequence[object]:
        value = self._raw.get(key, [])
        if not isinstance(value, list):
            raise ConfigError(f"{key} is {_shown(value)}, not a list")
        return value


def _checked(key: str, value: object) -> Values:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} is {_shown(value)}, not a mapping")
    return Values(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
