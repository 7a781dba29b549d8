"""A GPURequest that no pool can decide about fails itself alone.

Its CRD keeps such numbers out. One that is stored all the same, from an earlier version or by hand, must cost the other
services of the pool nothing.
"""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from app.api.v1alpha1.gpurequest import Shape
from app.api.v1alpha1.places import MOST_PLACES
from app.kube.lenient import value_at
from app.kube.manifest import Manifest

_SHAPES = TypeAdapter(list[Shape])
_RANGES = (
    (("nodes",), 1, 10_000),
    (("gpusPerNode",), 1, 4_096),
    (("replicas", "min"), 0, 1_000_000),
    (("replicas", "max"), 0, 1_000_000),
)


def find_fault(request: Manifest) -> str:
    """Why this request cannot be read, or ""."""
    for path, least, most in _RANGES:
        value = value_at(request, "spec", *path)
        name = ".".join(path)
        if not isinstance(value, int) or isinstance(value, bool):
            return f"spec.{name} of the GPURequest is not a whole number"
        if not least <= value <= most:
            return f"spec.{name} of the GPURequest is {value}, and may be {least} to {most}"
    pods = value_at(request, "spec", "nodes") * value_at(request, "spec", "replicas", "min")
    if pods > MOST_PLACES:
        return f"{pods} pods are asked for, and a pool decides about at most {MOST_PLACES} of one service"
    return _find_wrong_shape(request)


def _find_wrong_shape(request: Manifest) -> str:
    try:
        _SHAPES.validate_python(value_at(request, "spec", "shapes"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in ("shapes", *first["loc"]))
        return f"spec.{where} of the GPURequest cannot be read: {first['msg']}"
    return ""
