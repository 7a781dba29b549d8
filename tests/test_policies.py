"""The policies in deploy/ speak of what the code writes: names, children, accounts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.contracts.download import REPORT_ANNOTATION
from app.inferenceservice.names import keys_name
from app.kube.names import (
    CACHE_LABEL,
    GROUP_LABEL,
    HEARTBEAT_ANNOTATION,
    HOSTNAME_LABEL,
    OPERATOR,
    PLACEMENT_GATE,
    PROBLEM_ANNOTATION,
    SERVICE_LABEL,
)
from app.modelcache.names import access_name
from tests.golden.replay import ANSWERS, case_name, load
from tools.sandbox.agent import USER
from tools.sandbox.hooks import read_settings
from tools.sandbox.metacontroller import USER as METACONTROLLER
from tools.sandbox.operator import controllers
from tools.sandbox.policies import HOST_PATHS, PARAMETERS, POLICIES, policies

FOUND = policies(read_settings())
BY_NAME = {it["metadata"]["name"]: it["spec"] for it in FOUND if it["kind"] == "ValidatingAdmissionPolicy"}
CHILDREN = BY_NAME["inference-children"]


def text_of(policy: str) -> str:
    return yaml.safe_dump(BY_NAME[policy], width=10_000)


def test_every_file_is_installed() -> None:
    listed = yaml.safe_load((POLICIES / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {it.name for it in POLICIES.glob("*.yaml")} - {"kustomization.yaml"}
    base = yaml.safe_load((POLICIES.parent / "base" / "kustomization.yaml").read_text())
    assert "../policies" in base["components"]


def test_every_policy_is_bound_and_refuses() -> None:
    bindings = {it["spec"]["policyName"]: it["spec"] for it in FOUND if it["kind"].endswith("Binding")}
    assert bindings.keys() == BY_NAME.keys()
    assert {tuple(it["validationActions"]) for it in bindings.values()} == {("Deny",)}
    assert {it["failurePolicy"] for it in BY_NAME.values()} == {"Fail"}
    parameters = {name: it["paramRef"] for name, it in bindings.items() if "paramRef" in it}
    assert parameters.keys() == {name for name, it in BY_NAME.items() if "paramKind" in it}
    [stored] = [it["metadata"] for it in FOUND if it["kind"] == PARAMETERS]
    for reference in parameters.values():
        assert reference == {**stored, "parameterNotFoundAction": "Deny"}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_policy_is_about_named_accounts_and_says_why(name: str) -> None:
    conditions = [it["expression"] for it in BY_NAME[name]["matchConditions"]]
    assert any("request.userInfo.username" in it for it in conditions), "it would hold everybody"
    for validation in BY_NAME[name]["validations"]:
        assert validation["reason"] == "Forbidden", "else the agent takes a refusal for a conflict"
        assert "message" in validation or "messageExpression" in validation


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("inference-agent-binds", [USER, PLACEMENT_GATE, GROUP_LABEL, HOSTNAME_LABEL]),
        ("inference-agent-recalls", [USER, PLACEMENT_GATE, SERVICE_LABEL, HOSTNAME_LABEL]),
        ("inference-agent-downloads", [USER, CACHE_LABEL, PROBLEM_ANNOTATION]),
        ("inference-agent-heartbeats", [USER, HEARTBEAT_ANNOTATION]),
        ("inference-agent-lease", [USER, "inference-agent"]),
        ("inference-downloader", [access_name(""), OPERATOR, REPORT_ANNOTATION]),
        ("inference-ssh-keys", [keys_name(""), "kubernetes.io/ssh-auth"]),
        ("inference-children", [METACONTROLLER, OPERATOR, SERVICE_LABEL]),
        ("inference-pods", [METACONTROLLER, OPERATOR, HOST_PATHS, access_name(""), keys_name("")]),
    ],
)
def test_a_policy_names_what_the_code_names(policy: str, words: list[str]) -> None:
    missing = [word for word in words if f"'{word}'" not in text_of(policy).replace("''", "'")]
    assert missing == [], f"edit deploy/policies: {policy}"


def test_folders_of_the_nodes_are_those_of_the_settings() -> None:
    stored = yaml.safe_load((POLICIES / "parameters.yaml").read_text())["data"]
    assert stored == {HOST_PATHS: read_settings()[HOST_PATHS]}


def _children() -> dict[str, list[str]]:
    """What the policy says each owner has."""
    [variable] = [it for it in CHILDREN["variables"] if it["name"] == "children"]
    found: dict[str, list[str]] = yaml.safe_load(variable["expression"])
    return found


def test_owners_have_the_children_of_their_controllers() -> None:
    listed = {it["metadata"]["name"]: it["spec"] for it in controllers(lws=True)}
    owners = {
        "InferenceService": "inferenceservice",
        "ModelCache": "modelcache",
        "InferenceEndpoint": "inferenceendpoint",
        "GPUPool": "gpupool",
        "Node": "gpunode",
    }
    assert set(owners.values()) == listed.keys()
    for owner, controller in owners.items():
        spec = listed[controller]
        wanted = {it["resource"] for it in spec.get("childResources") or spec["attachments"]}
        assert set(_children()[owner]) == wanted, f"edit deploy/policies/children.yaml: {owner}"


def _matched(policy: dict[str, Any]) -> set[tuple[str, str]]:
    rules = policy["matchConstraints"]["resourceRules"]
    return {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}


def test_every_child_resource_is_looked_at() -> None:
    for controller in controllers(lws=True):
        for it in controller["spec"].get("childResources") or controller["spec"]["attachments"]:
            group = it["apiVersion"].rpartition("/")[0]
            assert (group, it["resource"]) in _matched(CHILDREN), "edit deploy/policies/children.yaml"


@pytest.mark.parametrize("path", ANSWERS, ids=case_name)
def test_names_of_children_begin_with_that_of_their_parent(path: Path) -> None:
    kind = path.parent.parent.name
    if kind in ("gpupool", "gpunode"):
        return
    request = load(path.with_name(path.name.replace(".response.", ".request.")))
    parent = request["parent"]["metadata"]["name"]
    names = [it["metadata"]["name"] for it in load(path).get("children", [])]
    assert [it for it in names if it != parent and not it.startswith(f"{parent}-")] == []


def test_metacontroller_is_known_by_the_account_of_its_manifests() -> None:
    assert re.fullmatch(r"system:serviceaccount:metacontroller:metacontroller", METACONTROLLER)
