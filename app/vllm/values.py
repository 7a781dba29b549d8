"""One value of an engine argument -> the tokens vLLM's parser takes, or what is wrong with it.

argparse takes `--flag=value` safely whatever the value starts with; an argument of several values needs separate
tokens, where a leading dash would be read as the next flag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from app.vllm.finding import did_you_mean
from app.vllm.table import Argument

Tokens = tuple[str, ...]

DIGITS = 15
"""Of the longest whole number that is taken: a quadrillion of anything is a slip."""
_WHOLE = re.compile(rf"-?\d{{1,{DIGITS}}}", re.ASCII)
# vLLM: k, m, g, t are powers of 1000, K, M, G, T of 1024; a decimal part goes with the small letters only
_SIZE = re.compile(rf"(\d{{1,{DIGITS}}}(?:\.\d{{1,{DIGITS}}}(?=[kmgt]))?)([kKmMgGtT]?)", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
"""With the digits that any number of 64 bits is written with; the work of reading more grows with their square."""
_SHARES = frozenset({"gpu_memory_utilization"})
_ARGUMENTS_WITHOUT_LIMIT = ("max_model_len",)


class BadValueError(ValueError):
    """The message says what the argument takes."""


def render(argument: Argument, value: Any) -> Tokens:
    """The tokens of a value; BadValueError when the argument does not take it."""
    if argument.type in ("bool", "flag"):
        return _switch(argument, value)
    if argument.many:
        return _list(argument, value)
    if argument.repeat:
        return tuple(f"{flag(argument.name)}={text}" for text in _texts(argument, value))
    return (f"{flag(argument.name)}={_one(argument, value)}",)


def render_unknown(name: str, value: Any) -> Tokens:
    """An argument of another vLLM version, written the way most are, or one key of a JSON argument: the parser takes
    whatever follows a key for its value, so that a switch has one too."""
    if isinstance(value, bool) and "." not in name:
        return (flag(name) if value else flag(f"no_{name}"),)
    return (f"{flag(name)}={_text(value)}",)


def flag(name: str) -> str:
    """max_model_len -> --max-model-len; the keys after a dot belong to a JSON value and stay."""
    head, dot, keys = name.partition(".")
    return f"--{head.replace('_', '-')}{dot}{keys}"


def compact(value: Any) -> str:
    """JSON in one spelling: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_whole(value: Any) -> int | None:
    """A whole number, also as text or as 4.0; None for everything else, and for what has too many digits."""
    value = _whole_float(value)
    return int(value) if not isinstance(value, bool) and _WHOLE.fullmatch(str(value)) else None


def parse_size(value: Any) -> int | None:
    """4096, "32k" (thousands) or "32K" (1,024s) as a number; None for "auto", -1 and what is no size."""
    found = None if isinstance(value, bool) else _SIZE.fullmatch(str(_whole_float(value)))
    if found is None:
        return None
    number, unit = found.groups()
    size = int(float(number) * (1024 if unit.isupper() else 1000) ** _POWERS[unit.lower()])
    return size if size < 10**DIGITS else None


def _whole_float(value: Any) -> Any:
    """1e5 is read from YAML as 100000.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parse_number(value: Any) -> float | None:
    """A number or its text; None for everything else."""
    return None if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)) else float(value)


def is_share(number: float) -> bool:
    """Whether it can be a part of the memory."""
    return 0 < number <= 1


def as_switch(value: Any) -> bool:
    """true or false, also as text."""
    if value in ("true", "false"):
        return bool(value == "true")
    if isinstance(value, bool):
        return value
    raise BadValueError(f"takes true or false, not {_shown(value)}")


def _switch(argument: Argument, value: Any) -> Tokens:
    if as_switch(value):
        return (flag(argument.name),)
    return (flag(argument.negative),) if argument.negative else ()


def _list(argument: Argument, value: Any) -> Tokens:
    texts = _texts(argument, value)
    if any(text.startswith("-") for text in texts):
        raise BadValueError("takes values that do not start with '-'")
    return (flag(argument.name), *texts)


def _texts(argument: Argument, value: Any) -> list[str]:
    """Of one value or several, which may be the text of a JSON list."""
    parsed = parse_json(value)
    items = parsed if isinstance(parsed, list) else _adapters(value) if argument.type == "adapter" else [value]
    if not items:
        raise BadValueError("takes at least one value, not an empty list")
    return [_one(argument, item) for item in items]


def _one(argument: Argument, value: Any) -> str:
    text = _FORMATS[argument.type](argument, value)
    if argument.choices and text not in argument.choices:
        raise BadValueError(f"takes one of {', '.join(argument.choices)}, not {_shown(value)}")
    if "\0" in text:
        raise BadValueError("takes text without NUL characters")
    return text


def _int(_: Argument, value: Any) -> str:
    number = parse_whole(value)
    if number is None:
        raise BadValueError(f"takes {_whole_number(value)}, not {_shown(value)}")
    return str(number)


def _whole_number(value: Any) -> str:
    """In words; the bound is told where it may be what is wrong."""
    return f"a whole number of at most {DIGITS} digits" if len(str(value)) > DIGITS else "a whole number"


def _float(argument: Argument, value: Any) -> str:
    number = parse_number(value)
    if number is None:
        raise BadValueError(f"takes a number, not {_shown(value)}")
    if argument.name in _SHARES and not is_share(number):
        raise BadValueError(f"takes a share above 0 and up to 1, not {_shown(value)}")
    return str(value)


def _size(argument: Argument, value: Any) -> str:
    text, size = str(_whole_float(value)), parse_size(value)
    if argument.name in _ARGUMENTS_WITHOUT_LIMIT and text in ("auto", "-1"):
        return text
    if size is None:
        raise BadValueError(f'takes {_whole_number(value)} or a text such as "32k", not {_shown(value)}')
    if not size:
        raise BadValueError(f"takes at least 1, not {_shown(value)}")
    return text


def _object(_: Argument, value: Any) -> str:
    return _json(value, dict, "takes an object or its JSON text")


def _json_list(_: Argument, value: Any) -> str:
    return _json(value, list, "takes a list or its JSON text")


def _json(value: Any, kind: type, takes: str) -> str:
    parsed = parse_json(value)
    if not isinstance(parsed, kind):
        raise BadValueError(f"{takes}, not {_shown(value)}")
    return compact(parsed)


def parse_json(value: Any) -> Any:
    """A value, or what its text says; None for what is no JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


def _object_or_text(argument: Argument, value: Any) -> str:
    plain = isinstance(value, str) and not isinstance(parse_json(value), dict)
    return str(value) if plain else _object(argument, value)


_ADAPTER = {"name": str, "path": str, "base_model_name": str, "is_3d_lora_weight": bool}
"""Fields of vLLM's LoRAModulePath; the first two are required."""


def _adapters(value: Any) -> list[Any]:
    """One adapter, or several as a mapping of names to paths."""
    parsed = value if isinstance(value, dict) else None
    if parsed and not parsed.keys() & _ADAPTER.keys():
        return [{"name": name, "path": path} for name, path in sorted(parsed.items())]
    return [value]


def _adapter(_: Argument, value: Any) -> str:
    """name=path, which vLLM splits at each "=" and takes for JSON where it has a comma; else JSON."""
    parsed = parse_json(value)
    if isinstance(value, str) and not isinstance(parsed, dict):
        name, equals, path = value.partition("=")
        if not name or not equals or not path:
            raise BadValueError(f"takes name=path, or an object with name and path, not {_shown(value)}")
        return value if not set(path) & {"=", ","} and "," not in name else compact({"name": name, "path": path})
    if not isinstance(parsed, dict):
        raise BadValueError(f"takes objects with name and path, or name=path, not {_shown(value)}")
    if missing := [field for field in ("name", "path") if not parsed.get(field)]:
        raise BadValueError(f"takes objects with name and path; {_shown(value)} has no {missing[0]}")
    if wrong := sorted(key for key, said in parsed.items() if not isinstance(said, _ADAPTER.get(key, ()))):
        hint = did_you_mean(wrong[0], tuple(_ADAPTER))
        raise BadValueError(f"takes objects with {', '.join(_ADAPTER)}, not {wrong[0]} as in {_shown(value)}{hint}")
    return compact(parsed)


def _comma_text(argument: Argument, value: Any) -> str:
    return ",".join(_plain(argument, item) for item in value) if isinstance(value, list) else _plain(argument, value)


def _plain(_: Argument, value: Any) -> str:
    if isinstance(value, dict | list):
        raise BadValueError(f"takes a single value, not {_shown(value)}")
    return _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else compact(value)


def _shown(value: Any) -> str:
    text = compact(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_FORMATS: dict[str, Callable[[Argument, Any], str]] = {
    "int": _int,
    "float": _float,
    "size": _size,
    "json": _object,
    "json list": _json_list,
    "json or text": _object_or_text,
    "text": _plain,
    "comma text": _comma_text,
    "adapter": _adapter,
}
