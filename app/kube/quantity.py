"""Kubernetes quantities in the form the API server stores them.

Metacontroller compares desired and observed values literally: "1024Mi" beside a stored "1Gi" would be an update in
every sync. Source: the canonical form of k8s.io/apimachinery/pkg/api/resource.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, localcontext

QUANTITY_LIMIT = 32
"""Characters. The work of reading a number grows with the square of its digits."""
LARGEST = 2**63 - 1
"""What the API server can hold: it stores a larger one as this, so that every sync would find a difference."""
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

_WHOLE = re.compile(QUANTITY_PATTERN)
_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5, "Ei": 1024**6}
_EXACT = Context(prec=100)
"""Enough digits for any text: the usual 28 are fewer than an absurdly large quantity in bytes has."""
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}


def parse_quantity(text: str) -> Decimal:
    """The number a quantity stands for (bytes, cores, pieces); ValueError says what is accepted."""
    if len(text) > QUANTITY_LIMIT:
        raise ValueError(f"a quantity has at most {QUANTITY_LIMIT} characters, not {len(text)}: write for example 16Gi")
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a quantity: write for example 16Gi, 500m or 4")
    for suffix, factor in (_BINARY | _DECIMAL).items():
        if text.endswith(suffix):
            return _EXACT.multiply(Decimal(text.removesuffix(suffix)), factor)
    return _EXACT.multiply(Decimal(text[:-1]), Decimal("0.001")) if text.endswith("m") else Decimal(text)


def canonical_quantity(text: str) -> str:
    """The one spelling the API server keeps: no fraction, the largest suffix that leaves a whole number.

    What is finer than a thousandth is rounded up to it: pods may ask for nothing finer.
    """
    with localcontext(_EXACT):
        return _canonical(text)


def _canonical(text: str) -> str:
    number = parse_quantity(text)
    if number > LARGEST:
        raise ValueError(f"{text} is more than {LARGEST}, the largest quantity that Kubernetes holds")
    thousandths = int((number * 1000).to_integral_value("ROUND_CEILING"))
    value, fraction = divmod(thousandths, 1000)
    if fraction:
        return f"{thousandths}m"
    suffixes = _BINARY if text.endswith("i") and value >= 1024 else _DECIMAL
    for suffix, factor in reversed(suffixes.items()):
        if value and value % factor == 0:
            return f"{value // factor}{suffix}"
    return str(value)


def format_bytes(count: int) -> str:
    """Bytes as a canonical binary quantity, rounded up to whole Mi below one Ti and to Gi above."""
    unit = _BINARY["Gi"] if count >= _BINARY["Ti"] else _BINARY["Mi"]
    return canonical_quantity(f"{-(-count // unit) * unit // 1024}Ki")
