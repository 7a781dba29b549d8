"""Pydantic specs -> CustomResourceDefinitions.

A kind's spec and status models are the single source of its CRD: descriptions, defaults, bounds and enums come from
the fields, CEL rules from the `rules` of each model. The API server wants a *structural* schema (no $ref, no anyOf,
no null), so pydantic's JSON schema is rewritten to that form here and nowhere else.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from app.api import bounds
from app.api.lenient import read_model
from app.kube.conditions import ErrorClass, Finding, Reason, shortened
from app.kube.duration import DURATION_LIMIT, DURATION_PATTERN, parse_duration
from app.kube.quantity import QUANTITY_LIMIT, QUANTITY_PATTERN, canonical_quantity

GROUP = "inference.ai"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Schema = dict[str, Any]
RULES = "x-kubernetes-validations"
"""Where a schema holds its CEL rules."""


@dataclass(frozen=True)
class Rule:
    """A CEL rule; `message` tells the user what to change.

    Messages quote no values: the API server has no bound for the cost of making text of a number, and refuses it.
    """

    expression: str
    message: str
    field_path: str = ""

    def to_schema(self) -> Schema:
        schema = {"rule": self.expression, "message": self.message}
        return schema | ({"fieldPath": self.field_path} if self.field_path else {})

    @classmethod
    def from_schema(cls, schema: Mapping[str, str]) -> Self:
        return cls(schema["rule"], schema["message"], schema.get("fieldPath", ""))


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; priority 1 shows with `-o wide` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    priority: int = 0

    def to_schema(self) -> Schema:
        column = {
            "name": self.name,
            "jsonPath": self.path,
            "type": self.type,
            "description": self.description,
        }
        return column | ({"priority": self.priority} if self.priority else {})


class Model(BaseModel):
    """A part of a spec or status: camelCase in JSON, immutable; unknown fields are dropped as the API server does."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True)
    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.rules:
            schema[RULES] = [rule.to_schema() for rule in cls.rules]
        for name, field_info in cls.model_fields.items():
            # pydantic copies other defaults of this kind at each read, and tells none that a factory makes
            if field_info.default_factory in (list, dict) or _is_model(field_info.default_factory):
                made = field_info.get_default(call_default_factory=True)
                default = made.model_dump(mode="json", by_alias=True) if isinstance(made, Model) else made
                schema["properties"][field_info.alias or name]["default"] = default
        return schema

    @classmethod
    def read(cls, value: object) -> Self:
        """Whatever can be read of what somebody else wrote; misshapen fields have their defaults (app/api/lenient.py).

        An object that was read keeps no unknown fields, so it is never what is written back.
        """
        return read_model(cls, value)

    def differing(self) -> list[str]:
        """Fields that differ from their defaults, as users write them: the single ones with their values."""
        found = ((field.alias or name, getattr(self, name), field) for name, field in type(self).model_fields.items())
        asked = ((name, value) for name, value, field in found if value != field.get_default(call_default_factory=True))
        return [name if isinstance(value, Model | dict | list) else f"{name} {value}" for name, value in asked]


def _is_model(factory: object) -> bool:
    return isinstance(factory, type) and issubclass(factory, Model)


def _as_text(value: object) -> object:
    """A number as text. A whole number that JSON cannot keep exact is refused before it is written out."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > bounds.NUMBER:
        raise ValueError("a number can have 16 digits at most: write a unit, for example 16Gi")
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _checked_quantity(value: object) -> object:
    text = _as_text(value)
    return canonical_quantity(text) if isinstance(text, str) else text


def _checked_duration(value: object) -> object:
    if isinstance(value, str):
        parse_duration(value)
    return value


Quantity = Annotated[
    str,
    BeforeValidator(_checked_quantity),
    # pattern and length are for texts, minimum and maximum for numbers
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": QUANTITY_LIMIT,
            "minimum": 0,
            "maximum": bounds.NUMBER,
        }
    ),
]
"""A Kubernetes quantity such as "16Gi" or 4, held in canonical form."""

Duration = Annotated[
    str,
    BeforeValidator(_checked_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": DURATION_LIMIT}),
]
"""A duration as Go writes it: "300s", "5m", "1h30m"."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of an object in the same namespace."""

HostName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z]([-a-z0-9]*[a-z0-9])?$"),
]
"""A DNS name in lower case; no address, for its last label begins with a letter, and no wildcard, for URLs have it."""

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""An RFC 3339 time in UTC."""

LIST_OF_CONDITIONS = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


class ConditionSchema(Model):
    """One observation about the object."""

    type: str = Field(max_length=316, description="What the condition is about, for example Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str | None = Field(None, max_length=1024, description="Why it has this status, in one word.")
    message: str | None = Field(None, max_length=32768, description="The same for people, with numbers and what to do.")
    last_transition_time: Time | None = Field(None, description="When the status last flipped.")


ConditionList = Annotated[list[ConditionSchema], Field(json_schema_extra=LIST_OF_CONDITIONS)]
"""The conditions of a status: one of each type."""


def invalid_spec(error: ValidationError, of: type[Model]) -> Finding:
    """A stored spec that today's model `of` refuses, as a finding that names the field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(("spec", *(shortened(str(part), 64) for part in first["loc"])))
    what = shortened(_plain(first["type"], first["msg"], _description(of, first["loc"])), 512)
    return unread_spec(f"{shortened(where, 256)} is not accepted: {what}")


def unread_spec(what: str) -> Finding:
    """A part of a stored object that was too much to be read, as a finding."""
    message = f"{what}. Nothing was changed; correct the field."
    return Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, message)


def _plain(kind: str, message: str, description: str) -> str:
    """What pydantic says, without its own words and without regular expressions, which nobody reads."""
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "it takes fields, as an object"
    if kind == "string_pattern_mismatch" and description:
        return f"it has not the form of this field ({description.rstrip('.')})"
    return message.removeprefix("Value error, ")


def _description(of: type[BaseModel] | None, location: Sequence[str | int]) -> str:
    """What is said of the field at a location, "" when nothing is."""
    found = ""
    for part in location:
        if isinstance(part, int):
            continue
        field = next((it for name, it in (of.model_fields if of else {}).items() if part in (name, it.alias)), None)
        if field is None:
            return found
        found, of = field.description or "", _model_in(field.annotation)
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an optional value or the items of a list are."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for it in get_args(annotation) if (model := _model_in(it))), None)


@dataclass(frozen=True)
class Kind:
    """What the API server must know about one custom resource."""

    name: str
    plural: str
    short_names: Sequence[str]
    spec: type[Model]
    status: type[Model]
    columns: Sequence[Column]
    description: str
    rules: Sequence[Rule] = ()
    scale: Mapping[str, str] = field(default_factory=dict)
    scope: Literal["Namespaced", "Cluster"] = "Namespaced"
    categories: Sequence[str] = ("amd-inference",)

    @property
    def key(self) -> str:
        """The outer key of `children` and `related` under which its objects stand: GPUPool.inference.ai/v1alpha1."""
        return f"{self.name}.{API_VERSION}"

    def to_manifest(self) -> Schema:
        """The CustomResourceDefinition as `kubectl apply` takes it."""
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": self.scope,
                "names": {
                    "kind": self.name,
                    "listKind": f"{self.name}List",
                    "plural": self.plural,
                    "singular": self.name.lower(),
                    "shortNames": list(self.short_names),
                    "categories": list(self.categories),
                },
                "versions": [self._version()],
            },
        }

    def _version(self) -> Schema:
        return {
            "name": VERSION,
            "served": True,
            "storage": True,
            "subresources": {"status": {}} | ({"scale": dict(self.scale)} if self.scale else {}),
            "additionalPrinterColumns": [column.to_schema() for column in self.columns],
            "schema": {"openAPIV3Schema": self.schema},
        }

    @cached_property
    def schema(self) -> Schema:
        """The structural OpenAPI v3 schema of a whole object; not to be changed."""
        schema: Schema = {
            "description": self.description,
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "spec": structural_schema(self.spec),
                "status": structural_schema(self.status),
            },
        }
        if self.rules:
            schema[RULES] = [rule.to_schema() for rule in self.rules]
        return schema


def structural_schema(model: type[BaseModel]) -> Schema:
    """The structural OpenAPI v3 schema of a pydantic model."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    schema = _structural(raw, raw.get("$defs", {}))
    # "observedGeneration" is Metacontroller's own, written into every status.
    if model.__name__.endswith("Status"):
        schema["properties"]["observedGeneration"] = {"type": "integer", "format": "int64"}
        _bound(schema)
    return schema


def _bound(schema: Schema) -> None:
    """A status has general bounds where it has none of its own: the operator writes it, but not the operator alone."""
    kind = schema.get("type")
    if kind == "string" and not schema.keys() & {"maxLength", "enum"}:
        schema["maxLength"] = bounds.MESSAGE
    elif kind == "array":
        schema.setdefault("maxItems", bounds.ITEMS)
    elif kind == "integer":
        schema.setdefault("maximum", bounds.NUMBER)
    elif "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema:
        schema.setdefault("maxProperties", bounds.ENTRIES)
    for child in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(child, dict):
            _bound(child)


def _said(item: Any) -> Any:
    """An item of a default list, less what is not set."""
    return {key: value for key, value in item.items() if value is not None} if isinstance(item, dict) else item


_KEPT = (
    "description", "type", "format", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "maxProperties", "required",
)  # fmt: skip


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    node = _resolved(node, definitions)
    schema: Schema = {key: node[key] for key in _KEPT if key in node}
    schema |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    if schema.get("default") is None or isinstance(schema["default"], dict):
        schema.pop("default", None)  # defaults of whole objects stay ours: the stored object remains as written
    if isinstance(schema.get("default"), list):
        schema["default"] = [_said(item) for item in schema["default"]]
    if "description" in schema:
        schema["description"] = re.sub(r"\s+", " ", schema["description"]).strip()
    if "properties" in node:
        schema["properties"] = {k: _structural(v, definitions) for k, v in node["properties"].items()}
    if "items" in node:
        schema["items"] = _structural(node["items"], definitions)
    extra = node.get("additionalProperties")
    if isinstance(extra, Mapping):
        schema["additionalProperties"] = _structural(extra, definitions)
    elif extra is True:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow $ref, and take the one branch of `X | None`; what stands beside the reference wins."""
    if "$ref" in node:
        target = _resolved(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
        return {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    if "anyOf" in node:
        (branch,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        return {**_resolved(branch, definitions), **{k: v for k, v in node.items() if k != "anyOf"}}
    if "const" in node:
        return {**node, "enum": [node["const"]]}
    return node
