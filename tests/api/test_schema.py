"""The CRDs: structural, described, and as the specification writes its objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from app.api.schema import Column, Duration, HostName, Kind, Model, Quantity, Rule, invalid_spec, structural_schema
from app.api.v1alpha1.inferenceendpoint import InferenceEndpointSpec
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.api.v1alpha1.modelcache import ModelCacheSpec
from app.hooks.kinds import KINDS
from tests.golden.replay import ANSWERS, case_name, load
from tests.golden.schemas import problems
from tests.specification import STATUSES

EXAMPLES = sorted((Path(__file__).parents[2] / "deploy/examples").rglob("*.yaml"))
API = "inference.ai/v1alpha1"

SERVING = [kind for kind in KINDS if kind.name in ("InferenceService", "ModelCache", "InferenceEndpoint")]
BY_PEOPLE = [kind for kind in KINDS if kind in SERVING or kind.name == "GPUPool"]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_kind_that_serves = pytest.mark.parametrize("kind", SERVING, ids=lambda kind: kind.name)
every_kind_that_people_write = pytest.mark.parametrize("kind", BY_PEOPLE, ids=lambda kind: kind.name)


def schema(kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = version(kind)["schema"]["openAPIV3Schema"]
    return found


def version(kind: Kind) -> dict[str, Any]:
    [found] = kind.to_manifest()["spec"]["versions"]
    return dict(found)


def nodes(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema below one, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            yield from nodes(node[key], f"{path}.{key}")


SMALL: Mapping[str, Any] = {
    "InferenceService": {"model": {"name": "m"}, "resources": {"totalGpus": 1}},
    "ModelCache": {"modelName": "m"},
    "InferenceEndpoint": {"service": "s"},
}


def with_status(kind: str, status: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {}, "spec": SMALL[kind], "status": status}


@pytest.mark.parametrize("kind", STATUSES)
def test_the_specifications_status_fits_verbatim(kind: str) -> None:
    assert problems(with_status(kind, STATUSES[kind])) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits(path: Path) -> None:
    for item in yaml.safe_load_all(path.read_text()):
        assert problems(item) == []


@pytest.mark.parametrize("path", [path for path in ANSWERS if "status" in load(path)], ids=case_name)
def test_every_status_that_is_answered_fits_whole(path: Path) -> None:
    """What the schema does not know would be dropped, and written again in every sync. A spec of an earlier version may
    have its own problems."""
    parent = load(path.with_name(path.name.replace(".response.", ".request.")))["parent"]
    bare = {key: value for key, value in parent.items() if key != "status"} | {"metadata": {}}
    assert problems(bare | {"status": load(path)["status"]}) == problems(bare)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_read_by_its_model(path: Path) -> None:
    models: Mapping[str, type[Model]] = {
        "InferenceService": InferenceServiceSpec,
        "ModelCache": ModelCacheSpec,
        "InferenceEndpoint": InferenceEndpointSpec,
    }
    for item in yaml.safe_load_all(path.read_text()):
        models[item["kind"]].model_validate(item["spec"])


@every_kind
def test_a_schema_is_structural(kind: Kind) -> None:
    """The API server refuses references, unions and null."""
    for path, node in nodes(schema(kind)):
        assert not node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "title", "exclusiveMinimum", "const"}, path
        assert node.get("type", "object") in ("object", "string", "integer", "number", "boolean", "array"), path
        assert "type" in node or "x-kubernetes-int-or-string" in node or "x-kubernetes-preserve-unknown-fields" in node


@every_kind
def test_every_field_that_users_write_or_read_is_described(kind: Kind) -> None:
    properties = schema(kind)["properties"]
    silent = [
        f"{part}{path}"
        for part in ("spec", "status")
        for path, node in nodes(properties[part])
        if path and not path.endswith((".items", ".additionalProperties")) and not node.get("description")
    ]
    assert [path for path in silent if not path.endswith(".observedGeneration")] == []


@every_kind_that_people_write
def test_every_list_that_people_write_has_a_bound(kind: Kind) -> None:
    """CEL rules over parts without bounds cost more than the API server allows."""
    spec = schema(kind)["properties"]["spec"]
    open_lists = [path for path, node in nodes(spec) if node.get("type") == "array" and "maxItems" not in node]
    assert open_lists == []


@every_kind_that_serves
def test_conditions_are_a_map_by_type(kind: Kind) -> None:
    conditions = schema(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@every_kind
def test_status_is_a_subresource_and_observed_generation_is_known(kind: Kind) -> None:
    """Metacontroller refuses a parent without, and writes observedGeneration by itself."""
    assert version(kind)["subresources"]["status"] == {}
    assert "observedGeneration" in schema(kind)["properties"]["status"]["properties"]


@every_kind
def test_names_collide_with_no_other_operators(kind: Kind) -> None:
    names = kind.to_manifest()["spec"]["names"]
    assert not {*names["shortNames"], names["singular"], names["plural"]} & {"isvc", "is", "ep", "mc"}
    assert names["categories"]
    assert all(category.startswith("amd-") for category in names["categories"])


@every_kind
def test_columns_lead_to_fields_that_exist(kind: Kind) -> None:
    for column in version(kind)["additionalPrinterColumns"]:
        node: Mapping[str, Any] = schema(kind)
        path = re.sub(r"\[.*?\]", "", column["jsonPath"].replace('[?(@.type=="', "[").replace('")]', "]"))
        for name in path.strip(".").split("."):
            if name == "metadata":
                break
            node = node.get("items", node)["properties"][name]


@every_kind_that_serves
def test_columns_say_since_when(kind: Kind) -> None:
    names = [column["name"] for column in version(kind)["additionalPrinterColumns"]]
    assert {"Since", "Age", "Message"} <= set(names)


def test_groups_are_scaled_by_the_scale_subresource() -> None:
    [service] = [kind for kind in KINDS if kind.name == "InferenceService"]
    assert version(service)["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


@pytest.mark.parametrize(
    "path",
    ["resources.totalGpus", "resources.sharing", "resources.gpu.count", "resources.gpu.strategy", "distributed.size",
     "distributed.leaderReplicas", "distributed.workerReplicas", "model.source", "storage.modelCache"],
)  # fmt: skip
def test_a_field_with_a_second_spelling_has_no_default(path: str) -> None:
    """A default would contradict what the user wrote in the other spelling."""
    [service] = [kind for kind in KINDS if kind.name == "InferenceService"]
    node = schema(service)["properties"]["spec"]
    for name in path.split("."):
        node = node["properties"][name]
    assert "default" not in node


def test_rules_quote_no_values_and_have_a_message() -> None:
    for kind in KINDS:
        for path, node in nodes(schema(kind)):
            for rule in node.get("x-kubernetes-validations", ()):
                assert rule["message"], path
                assert "messageExpression" not in rule


class Part(Model):
    """A part."""

    rules = (Rule("self.size > 0", "too small", field_path=".size"),)
    size: int = Field(1, ge=0, description="A  size\n    in pieces.")


class Whole(Model):
    """A whole."""

    kind: Literal["a"] = Field("a", description="One value.")
    text_name: str | None = Field(None, max_length=5, description="A text.")
    amount: Quantity = Field("1Gi", description="An amount.")
    delay: Duration | None = Field(None, description="A delay.")
    part: Part = Field(Part(), description="The part.")
    parts: list[Part] = Field([Part(size=2)], max_length=3, description="Parts.")
    labels: dict[str, str] = Field({}, description="Labels.")


def test_a_model_becomes_the_schema_the_api_server_wants() -> None:
    found = structural_schema(Whole)["properties"]
    assert found["kind"]["enum"] == ["a"]
    assert found["textName"] == {"type": "string", "maxLength": 5, "description": "A text."}
    assert found["amount"]["x-kubernetes-int-or-string"] is True
    assert "type" not in found["amount"]
    assert found["amount"]["minimum"] == 0, "the pattern is for texts alone"
    assert found["delay"]["type"] == "string"
    assert found["part"]["description"] == "The part."
    assert "default" not in found["part"], "the stored object remains as the user wrote it"
    assert found["part"]["properties"]["size"]["description"] == "A size in pieces."
    assert found["part"]["x-kubernetes-validations"] == [
        {"rule": "self.size > 0", "message": "too small", "fieldPath": ".size"}
    ]
    assert found["parts"]["default"] == [{"size": 2}]
    assert found["parts"]["items"]["properties"]["size"]["minimum"] == 0
    assert found["labels"]["additionalProperties"] == {"type": "string"}


@pytest.mark.parametrize(
    ("given", "stored"), [("1024Mi", "1Gi"), (4, "4"), (0.5, "500m"), ("0.5", "500m"), ("1000m", "1")]
)
def test_a_quantity_is_held_in_its_stored_form(given: Any, stored: str) -> None:
    assert Whole.model_validate({"amount": given}).amount == stored


@pytest.mark.parametrize("field", [{"amount": "16 GB"}, {"amount": True}, {"delay": "5"}, {"delay": 5}])
def test_a_bad_quantity_or_duration_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Whole.model_validate(field)


def test_unknown_fields_are_dropped_as_the_api_server_does() -> None:
    assert Whole.model_validate({"other": 1}) == Whole.model_validate({})


def test_a_refused_spec_is_a_finding_that_names_the_field() -> None:
    with pytest.raises(ValidationError) as refused:
        Whole.model_validate({"parts": [{"size": 1}, {"size": -1}]})
    finding = invalid_spec(refused.value, Whole)
    assert (finding.error, finding.reason) == ("Configuration", "ConfigurationError")
    assert finding.message.startswith("spec.parts.1.size is not accepted: ")


def test_a_column_that_is_always_shown_has_no_priority() -> None:
    assert "priority" not in Column("A", ".a", "An a.").to_schema()
    assert Column("A", ".a", "An a.", priority=1).to_schema()["priority"] == 1


@pytest.mark.parametrize("host", ["llama.example.com", "llama", "a-1.b2.example", "1.example.com"])
def test_a_host_of_an_ingress_is_a_dns_name(host: str) -> None:
    assert TypeAdapter(HostName).validate_python(host) == host


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "a..b", "*.example.com", "-a.example", "a.example.", "A.example", "a_b", ""]
)
def test_what_no_ingress_or_url_can_have_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(HostName).validate_python(host)


@pytest.mark.parametrize(
    ("of", "given", "said"),
    [
        (InferenceServiceSpec, {"model": None, "resources": {}}, "spec.model is not accepted: it takes fields"),
        (ModelCacheSpec, {"modelName": "m", "size": "64 GB"}, "spec.size is not accepted: '64 GB' is not a quantity"),
        (
            ModelCacheSpec,
            {"modelName": "m", "source": {"type": "huggingface", "huggingface": {"repository": "o/n@v1"}}},
            "it has not the form of this field (Repository: organisation/name",
        ),
    ],
)
def test_a_refused_field_is_told_in_words_of_its_own(of: type[Model], given: Any, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        of.model_validate(given)
    message = invalid_spec(refused.value, of).message
    assert said in message
    assert not [word for word in ("Value error", "instance of", "pattern", "^") if word in message]
