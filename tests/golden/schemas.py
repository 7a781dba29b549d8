"""Children against their real schemas: the library's generated models for built-in kinds, CRD schemas for others."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jsonschema
import kubernetes.client.models as models
from pydantic import BaseModel, ValidationError

from app.hooks.kinds import KINDS
from app.kube.lws import LeaderWorkerSet
from app.kube.manifest import differences

_VERSION = {"autoscaling/v2": "V2"}


def problems(child: dict[str, Any]) -> list[str]:
    """What the API server would object to or drop; empty when the child is stored as it was sent."""
    api_version, kind = child["apiVersion"], child["kind"]
    if (api_version, kind) in custom_schemas():
        errors = jsonschema.Draft202012Validator(custom_schemas()[api_version, kind]).iter_errors(child)
        return [error.message for error in errors]
    model = LeaderWorkerSet if kind == "LeaderWorkerSet" else typed_model(api_version, kind)
    try:
        stored = model.model_validate(child).model_dump(mode="json", by_alias=True, exclude_none=True)
    except ValidationError as error:
        return [str(error)]
    return [f"{path}: {before} -> {after}" for path, before, after in differences(child, stored)]


def typed_model(api_version: str, kind: str) -> type[BaseModel]:
    """kubernetes.client.models.V1Deployment for apps/v1 Deployment, and so on."""
    prefix = _VERSION.get(api_version, re.sub(r"^.*v", "V", api_version))
    model = getattr(models, prefix + kind)
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model


@cache
def custom_schemas() -> dict[tuple[str, str], Any]:
    manifests = [kind.to_manifest()["spec"] for kind in KINDS]
    return {
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): strict(version["schema"]["openAPIV3Schema"])
        for spec in manifests
        for version in spec["versions"]
    }


def strict(schema: Any) -> Any:
    """Unknown fields are errors here: the API server would prune them, and every sync would write."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    closed = "properties" in result and "x-kubernetes-preserve-unknown-fields" not in result
    return result | ({"additionalProperties": False} if closed else {})
