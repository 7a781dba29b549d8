"""What JSON weighs before it is parsed: how many values it holds, and how deep they are nested.

A parser takes 50 to 150 ns for each list or object, so that 1.4 MB of empty ones cost as much as ten whole syncs. These
functions take a few ns a byte at most: they delete everything but structural characters in one call, and do not
recurse. The text is JSON that a program wrote; of anything else the answers mean nothing.
"""

from __future__ import annotations

Text = bytes | bytearray

_SPACE = b" \t\r\n"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_LISTS = bytes.maketrans(b"{}", b"[]")


def may_hold_more(text: Text, values: int) -> bool:
    """Whether there could be more values than that. One pass: commas and brackets in texts count too."""
    return 1 + _count(text, b",[{") > values


def holds_more(text: Text, values: int) -> bool:
    """Whether there are more values than that: numbers, texts, lists and objects at all levels, the whole included. The
    names of an object's members are none."""
    if not may_hold_more(text, values):
        return False
    bare = _without_texts(text, 2 * values)  # a value is at most one text, and has at most one name
    if bare is None or 1 + bare.count(b",") > values:
        return True
    return 1 + _count(bare, b",[{") - bare.count(b"[]") - bare.count(b"{}") > values


def is_deeper(text: Text, values: int, levels: int) -> bool:
    """Whether lists and objects are nested deeper than that, the whole included. There are so many values at most."""
    bare = _without_texts(text, 2 * values) or b""
    left = bare.translate(_AS_LISTS, _NO_BRACKETS)
    for _ in range(levels):
        left = left.replace(b"[]", b"")  # the innermost of each go
    return bool(left)


def _count(text: Text, what: bytes) -> int:
    return len(text) - len(text.translate(None, what))


def _without_texts(text: Text, most: int) -> bytes | None:
    """Each text and name is 0, and there is no space; None where there are more of them than `most`."""
    plain = bytes(text)
    if b"\\" in plain:
        plain = plain.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 2 * most:
        return None
    return b"0".join(plain.split(b'"')[::2]).translate(None, _SPACE)
