"""What the kubelet makes of text in command, args and env: a copy of Go's expansion.Expand, step by step.

Source: k8s.io/kubernetes v1.36, third_party/forked/golang/expansion/expand.go. What it knows no variable for, the
kubelet's mapping leaves as it is.
"""

from __future__ import annotations

from collections.abc import Mapping


def expand(text: str, variables: Mapping[str, str]) -> str:
    made, cursor, checkpoint = "", 0, 0
    while cursor < len(text):
        if text[cursor] == "$" and cursor + 1 < len(text):
            made += text[checkpoint:cursor]
            read, is_variable, advance = _try_read(text[cursor + 1 :])
            made += variables.get(read, f"$({read})") if is_variable else read
            cursor += advance
            checkpoint = cursor + 1
        cursor += 1
    return made + text[checkpoint:]


def _try_read(text: str) -> tuple[str, bool, int]:
    if text[0] == "$":
        return "$", False, 1
    if text[0] == "(":
        end = text.find(")", 1)
        return (text[1:end], True, end + 1) if end > 0 else ("$(", False, 1)
    return f"${text[0]}", False, 1


def expanded(values: Mapping[str, str]) -> dict[str, str]:
    """An environment: a value may name the variables before it."""
    made: dict[str, str] = {}
    for name, value in values.items():
        made[name] = expand(value, made)
    return made
