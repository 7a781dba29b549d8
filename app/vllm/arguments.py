"""engineArgs -> tokens by argument, and findings: names are resolved, values checked, owned ones refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.vllm.abbreviations import find_abbreviated
from app.vllm.finding import Finding, did_you_mean, error, unknown, warning
from app.vllm.owned import argument_owner
from app.vllm.table import Table, engine_arguments
from app.vllm.values import BadValueError, Tokens, as_switch, render, render_unknown

PATH = "vllm.engineArgs"

SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
"""Given by the GPU plan, which starts from what the user wrote."""
PLANNED = (*SIZES, "prefill_context_parallel_size")
"""Read by the GPU plan under these names only."""
_FOLDER = "<folder path>"
"""Among the known values of an argument: any folder."""
_LEVEL = re.compile("O([0-3])")
"""-O3 is one word on vLLM's command line."""


@dataclass(frozen=True)
class Given:
    """One entry of engineArgs under its argument's own name."""

    key: str
    """As the user wrote it."""
    name: str
    value: Any

    @property
    def path(self) -> str:
        return f"{PATH}.{self.key}"

    @property
    def argument(self) -> str:
        """The name less the keys that may follow it: compilation_config of compilation_config.mode."""
        return self.name.partition(".")[0]

    @property
    def is_dotted(self) -> bool:
        return self.argument != self.name


def resolve(engine_args: Mapping[str, Any]) -> list[Given]:
    """What is set, sorted by name: max-model-len, --max_model_len and aliases become the argument's own name."""
    table = engine_arguments()
    given = (_resolved(key, value, table) for key, value in engine_args.items() if value is not None)
    return sorted(given, key=lambda entry: (entry.name, entry.key))


def check_names(given: Iterable[Given]) -> Iterator[Finding]:
    """Entries that mean the same argument: which one wins would be chance. Of a JSON argument and single keys of it,
    vLLM would take the keys alone. `given` is sorted, so an argument comes before its keys."""
    first: dict[str, Given] = {}
    for entry in given:
        other = first.setdefault(entry.name, entry)
        if other is not entry:
            yield error(entry.path, f"is the same argument as {other.key}; keep one")
        elif entry.is_dotted and (whole := first.get(entry.argument)):
            yield error(entry.path, f"is a key of {whole.key}, which stands here too; write it in there")


def check(entry: Given) -> tuple[Tokens, list[Finding]]:
    """The tokens of an entry and what is wrong with it."""
    table = engine_arguments()
    if instead := argument_owner(entry.argument):
        return (), [error(entry.path, f"cannot be set here: {instead}")]
    if not entry.name.isascii() or not entry.name.replace(".", "_").isidentifier():
        return (), [error(entry.path, "is no argument name: write it as vLLM's --help does")]
    if entry.name in PLANNED and entry.key.replace("-", "_") != entry.name:
        return (), [error(entry.path, f"must be written {entry.name}, because the GPU plan reads it")]
    known = table.arguments.get(entry.argument)
    if known is None and (whole := find_abbreviated(entry.argument)):
        instead = argument_owner(whole)
        message = f"cannot be set here: {instead}" if instead else "write the name whole, because the operator reads it"
        return (), [error(entry.path, f"is taken by vLLM for {whole}: {message}")]
    if known is None:
        return render_unknown(entry.name, entry.value), [_unknown(entry, table)]
    if entry.is_dotted:
        return _check_dotted(entry, known.takes_json)
    try:
        tokens = render(known, entry.value)
    except BadValueError as problem:
        return (), [error(entry.path, str(problem))]
    return tokens, list(_check_value(entry, known.known, table))


def _check_dotted(entry: Given, takes_json: bool) -> tuple[Tokens, list[Finding]]:
    """compilation_config.mode: 3 sets one key of a JSON argument."""
    if not takes_json:
        return (), [error(entry.path, "has no keys: only JSON arguments are written with a dot")]
    return render_unknown(entry.name, entry.value), []


def _check_value(entry: Given, known: tuple[str, ...], table: Table) -> Iterator[Finding]:
    value = str(entry.value)
    if entry.name == "quantization" and value in table.unsupported_quantization:
        yield error(entry.path, f"{value} does not run on AMD GPUs; take for example fp8, awq, gptq or quark")
    elif known and value == "":
        yield error(entry.path, "is empty: leave it out, or give it a value")
    elif known and not isinstance(entry.value, list) and value not in known:
        if _FOLDER in known and "/" in value:
            return
        hint = did_you_mean(value, tuple(it for it in known if it != _FOLDER))
        yield warning(entry.path, f"vLLM {table.version} knows no {entry.name} {value} without a plugin{hint}")


def _unknown(entry: Given, table: Table) -> Finding:
    if entry.name in table.removed:
        return warning(entry.path, f"vLLM {table.version} does not take it: {table.removed[entry.name]}")
    message = f"is unknown to vLLM {table.version} and passed on as it is"
    return unknown(entry.path, message, entry.name, table.arguments)


def _resolved(key: str, value: Any, table: Table) -> Given:
    head, dot, keys = key.lstrip("-").partition(".")
    name = head.replace("-", "_")
    name = table.aliases.get(name, name)
    if (level := _LEVEL.fullmatch(name)) and value in (True, "true", ""):
        return Given(key, "optimization_level", int(level[1]))
    if positive := table.negatives.get(name) or _legacy_positive(name, table):
        return Given(key, positive, _negated(value))
    return Given(key, f"{name}{dot}{keys}", value)


def _legacy_positive(name: str, table: Table) -> str:
    """--no-enable-x is still parsed though only --disable-x is shown."""
    positive = name.removeprefix("no_")
    known = positive != name and name not in table.arguments and positive in table.arguments
    return positive if known and table.arguments[positive].type == "bool" else ""


def _negated(value: Any) -> Any:
    try:
        return not as_switch(value)
    except BadValueError:
        return value  # the check of the value says what it takes
