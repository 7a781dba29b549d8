"""The user's envVars -> the environment of the vLLM processes, and findings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.vllm.code import value_danger, variable_danger
from app.vllm.finding import Finding, error, unknown
from app.vllm.owned import variable_owner
from app.vllm.table import engine_arguments, environment_names

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def build_environment(
    env: Mapping[str, str], allowed: tuple[str, ...] = (), trusts_code: bool = True
) -> tuple[tuple[tuple[str, str], ...], tuple[Finding, ...]]:
    """The variables that may be set, sorted, and what is wrong with the others; `allowed` are the administrator's
    exceptions among those that turn data into code."""
    checked = [(name, value, _check(name, value, allowed, trusts_code)) for name, value in sorted(env.items())]
    accepted = tuple((name, value) for name, value, finding in checked if not finding or finding.severity != "error")
    return accepted, tuple(finding for _, _, finding in checked if finding)


def _check(name: str, value: str, allowed: tuple[str, ...], trusts_code: bool) -> Finding | None:
    path = f"vllm.envVars.{name}"
    if not _NAME.fullmatch(name):
        return error(path, "is no variable name: use letters, digits and '_' only")
    if instead := variable_owner(name):
        return error(path, f"cannot be set here: {instead}")
    if why := variable_danger(name, allowed, trusts_code) or value_danger(name, value, allowed):
        return error(path, f"is refused: {why}")
    if name.startswith("VLLM_") and name not in environment_names():
        return unknown(path, f"is unknown to vLLM {engine_arguments().version}", name, environment_names())
    return None
