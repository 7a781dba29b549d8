"""What a user of the command did wrong, in a sentence."""

from __future__ import annotations

from pydantic import ValidationError


class InputError(Exception):
    """The input cannot be used; the message is all that is shown."""


def refused_field(what: str, prefix: str, error: ValidationError) -> InputError:
    """Every field that a model refuses, with its path as it is written in YAML."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    problems = [f"{_path(prefix, it['loc'])}: {it['msg'].removeprefix('Value error, ')}" for it in found]
    return InputError(f"{what} is not accepted: {'; '.join(problems)}")


def _path(prefix: str, location: tuple[int | str, ...]) -> str:
    path = prefix
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "the document"
