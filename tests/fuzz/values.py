"""Values that a structural schema admits, with a liking for its edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from hypothesis import strategies as st

Schema = Mapping[str, Any]

WORDS = (
    "", " ", "a", "A", "0", "-1", "1e400", "9" * 31, "0.5", "1Ei", "1h", "99999999h", "nan", "Infinity", "../..", "/",
    "a/b", "a.b", "::1", "$(HOME)", "$$", "{{ x }}", "\u0000", "é", "😀", "true", "null", "[]", "{}", "--host",
    "x" * 63, "gpt2", "hf://a/b", "s3://a/b", "http://169.254.169.254/", "https://u:pw@example.com/x?token=1",
)  # fmt: skip
"""Text that breaks what was not written with care."""

_LONG = 2**16
_MOST = 2**63 - 1

words = st.sampled_from(WORDS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-_MOST, _MOST) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


_LEVELS = 9_990
heavy_values = st.sampled_from(
    (
        "[" + "[]," * 450_000 + "0]",
        "[" + "{}," * 450_000 + "0]",
        "{" + ",".join(f'"{number:x}":{{}}' for number in range(60_000)) + "}",
        "[" + '",[{",' * 200_000 + "[]]",
        "[" * 1_100 + "]" * 1_100,
        "[" * _LEVELS + "]" * _LEVELS,
        '{"a":' * _LEVELS + "1" + "}" * _LEVELS,
        "[" + "[" * _LEVELS + "]" * _LEVELS + ",[]" * 400_000 + "]",
    )
).map(orjson.Fragment)
"""What no schema sees into: of very many values, or of very deep ones, which Python cannot write out."""


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """What the schema admits; its CEL rules are not looked at."""
    if "enum" in schema:
        return st.sampled_from(list(schema["enum"]))
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(-_MOST, _MOST) | words
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _objects(schema)
    if kind == "array":
        return st.lists(values(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=_count(schema, 3))
    if kind == "string":
        return _texts(schema)
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        least, most = int(schema.get("minimum", -_MOST)), int(schema.get("maximum", _MOST))
        return st.sampled_from([least, most]) | st.integers(least, most)
    if kind == "number":
        return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
    return json_values


def _count(schema: Schema, most: int) -> int:
    return max(int(schema.get("minItems", 0)), min(most, int(schema.get("maxItems", most))))


def _objects(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """A few of the fields: with all of them at once, one that is refused would hide the rest."""
    fields = {name: values(inner) for name, inner in schema.get("properties", {}).items()}
    if not fields:
        return _maps(schema)
    required = [name for name in schema.get("required", ()) if name in fields]
    chosen = st.sets(st.sampled_from(sorted(fields)), max_size=4)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in {*names, *required}}))


def _maps(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    inner = schema.get("additionalProperties")
    items = values(inner) if isinstance(inner, Mapping) else json_values
    most = int(schema.get("maxProperties", 300))
    small = st.dictionaries(words | st.text(max_size=12), items, max_size=min(4, most))
    if not isinstance(inner, Mapping):
        small |= st.dictionaries(words, heavy_values, min_size=1, max_size=1)
    many = st.tuples(st.sampled_from(("VLLM_USE_{}X", "max_num_{}", "a{}")), items).map(
        lambda drawn: {drawn[0].format(number): drawn[1] for number in range(most)}
    )
    return st.one_of(small, small, small, many)


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", _LONG))
    drawn: st.SearchStrategy[str] = st.text(min_size=least, max_size=min(most, least + 20)) | words
    if pattern := schema.get("pattern"):
        drawn = st.from_regex(str(pattern), fullmatch=False) | drawn
    long = st.sampled_from(("9", "x", "$(A)", "é", '"')).map(lambda sign: (sign * most)[:most])
    return st.one_of(drawn, drawn, drawn, long).filter(lambda text: least <= len(text) <= most)
