"""Files that could drift from the code: each test fails with the command to run or the line to edit."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.__main__ import main
from app.hooks.kinds import HOOKS, KINDS
from app.kube.conditions import Reason
from app.kube.duration import parse_duration
from app.kube.quantity import parse_quantity
from app.serving.edge import Edge
from app.serving.http import build_app
from app.serving.lane import MEBI
from app.serving.workers import MEMORY_BASE, MEMORY_PER_BYTE, SLOTS, Workers
from app.settings import Settings
from tests.calls import CHILD_KINDS
from tests.golden.replay import ANSWERS, case_name, load
from tests.security import violations

PROJECT = Path(__file__).parents[1]
CONTROLLERS = sorted(
    path for path in (PROJECT / "metacontroller").glob("*.yaml") if "\nkind: CompositeController\n" in path.read_text()
)
LWS_PATCH = PROJECT / "metacontroller/lws/leaderworkersets.yaml"
BASE = PROJECT / "deploy/base"

every_controller = pytest.mark.parametrize("path", CONTROLLERS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def child_resources(path: Path) -> list[dict[str, Any]]:
    """What a controller manages, with what the component lws/ adds to it."""
    added = [operation["value"] for operation in read(LWS_PATCH)] if path.stem == "inferenceservice" else []
    spec = read(path)["spec"]
    return [*spec.get("childResources", ()), *spec.get("attachments", ()), *added]


def plural(kind: str) -> str:
    if kind.endswith("y"):
        return f"{kind.lower()[:-1]}ies"
    return f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"


def webhooks(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from read(path)["spec"]["hooks"].items()


def test_crds_are_those_of_the_specs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crds", str(PROJECT / "crds"), "--check"]) == 0, capsys.readouterr().err


def test_every_controller_is_installed() -> None:
    listed = read(PROJECT / "metacontroller/kustomization.yaml")["resources"]
    files = {path.name for path in (PROJECT / "metacontroller").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed) == files, "edit metacontroller/kustomization.yaml"


@pytest.mark.parametrize("path", ANSWERS, ids=case_name)
def test_every_kind_that_is_answered_is_a_child_resource(path: Path) -> None:
    controller = PROJECT / "metacontroller" / f"{path.parent.parent.name}.yaml"
    listed = {(it["apiVersion"], it["resource"]) for it in child_resources(controller)}
    answer = load(path)
    for child in answer["children"] if "children" in answer else answer["attachments"]:
        wanted = child["apiVersion"], plural(child["kind"])
        assert wanted in listed, f"add {wanted} to spec.childResources of {controller.name}, with an updateStrategy"


@pytest.mark.parametrize("kind", CHILD_KINDS)
def test_the_tests_call_hooks_with_child_resources_of_the_controllers(kind: str) -> None:
    listed = {(it["apiVersion"], it["resource"]) for it in child_resources(PROJECT / f"metacontroller/{kind}.yaml")}
    known = {(api, plural(name)) for name, _, api in (it.partition(".") for it in CHILD_KINDS[kind])}
    assert known <= listed, f"CHILD_KINDS in tests/calls.py names what metacontroller/{kind}.yaml does not"


@every_controller
def test_every_child_resource_says_how_it_is_updated(path: Path) -> None:
    """Without a method Metacontroller never updates; Recreate and the rolling ones loop or never fire."""
    for child in child_resources(path):
        expected = "OnDelete" if child["resource"] == "jobs" else "InPlace"
        said = child.get("updateStrategy", {}).get("method")
        assert said == expected, f"{path.name}: {child['resource']} needs updateStrategy.method {expected}"


@every_controller
def test_a_controller_selects_its_children_by_a_label_of_their_own(path: Path) -> None:
    spec = read(path)["spec"]
    assert spec["generateSelector"] is True
    parent = spec["parentResource"]
    assert (parent["apiVersion"], parent["resource"]) == ("inference.ai/v1alpha1", HOOKS[path.stem].kind.plural)


@every_controller
def test_hooks_wait_longer_than_an_answer_takes(path: Path) -> None:
    for name, hook in webhooks(path):
        timeout = parse_duration(hook["webhook"].get("timeout", "0s"))
        assert 10 <= timeout <= 60, f"{path.name}: set hooks.{name}.webhook.timeout"


@every_controller
def test_hooks_lead_to_routes_of_the_service(path: Path) -> None:
    client = TestClient(build_app(Settings()))
    documents = [it for it in yaml.safe_load_all((BASE / "hooks.yaml").read_text()) if it["kind"] == "Service"]
    for name, hook in webhooks(path):
        webhook = hook["webhook"]
        assert webhook["path"] == f"/{name}/{path.stem}"
        assert client.post(webhook["path"], content=b"{}").status_code == 400, f"no route {webhook['path']}"
        [service] = documents
        assert webhook["service"]["name"] == service["metadata"]["name"]
        assert webhook["service"]["namespace"] == service["metadata"]["namespace"]
        assert webhook["service"]["port"] in [port["port"] for port in service["spec"]["ports"]]


@every_controller
def test_a_kind_that_looks_at_others_has_its_customize_hook(path: Path) -> None:
    assert ("customize" in dict(webhooks(path))) is True


def settings_lines() -> dict[str, str]:
    lines = [line for line in (BASE / "settings.env").read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_the_deployed_settings_name_every_setting() -> None:
    names = {f"INFERENCE_{name.upper()}" for name in Settings.model_fields}
    assert settings_lines().keys() == names, "edit deploy/base/settings.env: one line a field of app/settings.py"


def test_the_deployed_settings_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings_lines().items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.node_selector == {"accelerator": "amd-gpu"}
    assert settings.storage_class == "fast-ssd"
    assert settings.sharing == "shared"
    assert settings.cache_size == "100Gi"
    assert settings.supplemental_groups == (44, 109)
    for name in ("tolerations", "gpu_architectures", "zone_label", "block_label", "rack_label"):
        assert getattr(settings, name) == Settings.model_fields[name].default


def images_in_use() -> set[str]:
    [deployment] = [it for it in yaml.safe_load_all((BASE / "hooks.yaml").read_text()) if it["kind"] == "Deployment"]
    containers = deployment["spec"]["template"]["spec"]["containers"]
    settings = [value for name, value in settings_lines().items() if name.endswith("_IMAGE")]
    return {image.partition(":")[0] for image in (*(it["image"] for it in containers), *settings)}


def test_every_image_has_one_entry_that_users_edit() -> None:
    entries = read(BASE / "kustomization.yaml")["images"]
    assert sorted(it["name"] for it in entries) == sorted(images_in_use()), "edit images: in deploy/base"
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", it["newTag"]) for it in entries)


def test_images_in_the_settings_can_be_reached_by_kustomize() -> None:
    paths = {it["path"] for it in read(BASE / "image-fields.yaml")["images"]}
    wanted = {f"data/{name}" for name in settings_lines() if name.endswith("_IMAGE")}
    assert paths == wanted, "edit deploy/base/image-fields.yaml"


@pytest.mark.parametrize("folder", ["app", "crds", "deploy", "images", "metacontroller", "tools"])
def test_nothing_takes_whatever_is_latest(folder: str) -> None:
    files = [
        it for it in (PROJECT / folder).rglob("*") if it.suffix in (".py", ".yaml", ".env") or it.name == "Dockerfile"
    ]
    assert files
    latest = [str(it.relative_to(PROJECT)) for it in files if re.search(r":latest\b", it.read_text())]
    assert latest == [], "pin a version"


def test_metacontroller_and_lws_are_pinned() -> None:
    metacontroller, lws = (read(PROJECT / f"deploy/{name}/kustomization.yaml") for name in ("metacontroller", "lws"))
    assert [it["newTag"] for it in metacontroller["images"]] == ["v4.17.2"]
    assert [it["newTag"] for it in lws["images"]] == ["v0.10.0"]


def remote_resources() -> list[tuple[str, str]]:
    """File and URL of all that kustomize fetches."""
    files = sorted((PROJECT / "deploy").rglob("kustomization.yaml"))
    listed = [(file, it) for file in files for key in ("resources", "components") for it in read(file).get(key, ())]
    return [(str(file.relative_to(PROJECT)), it) for file, it in listed if "://" in it]


def test_what_kustomize_fetches_is_named_by_its_commit() -> None:
    assert remote_resources()
    loose = [it for it in remote_resources() if not re.search(r"\?ref=[0-9a-f]{40}$", it[1])]
    assert loose == [], "name a commit: a tag may be moved, and a released file replaced"


DOCKERFILES = sorted((PROJECT / "images").rglob("Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda it: it.parent.name)
def test_images_install_only_files_whose_hash_is_known(path: Path) -> None:
    text = re.sub(r"\\\n", " ", path.read_text())
    installs = re.findall(r"pip install ([^&;\n]*)", text)
    assert installs
    hashed = re.compile(r"--require-hashes --only-binary=:all: +--requirement \S+\.txt")
    loose = [it for it in installs if not hashed.search(it) and "--no-deps --no-build-isolation" not in it]
    assert loose == [], "install a file of requirements/, see `make lock`"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda it: it.parent.name)
def test_every_base_image_is_named_by_its_digest_or_can_be(path: Path) -> None:
    text = path.read_text()
    [default] = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    bases = {it for it in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if it not in re.findall(r" AS (\S+)", text)}
    named = re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", default)
    assert bases == ({"${BASE}"} if named else {"${BASE}${BASE_DIGEST:+@${BASE_DIGEST}}"})
    assert named or path.parent.name == "runtime", "vLLM's image alone is named by a site"


def test_make_installs_only_files_whose_hash_is_known() -> None:
    text = (PROJECT / "Makefile").read_text()
    installs = [it.strip() for it in re.findall(r"-m pip (.*)", text)]
    loose = [it for it in installs if not it.startswith("$(LOCKED) --requirement requirements/")]
    assert loose == ["install --quiet --no-deps --no-build-isolation --editable ."]
    assert "LOCKED := install --quiet --require-hashes --only-binary=:all:\n" in text


def test_the_operators_pod_meets_the_restricted_standard_of_its_namespace() -> None:
    [deployment] = [it for it in yaml.safe_load_all((BASE / "hooks.yaml").read_text()) if it["kind"] == "Deployment"]
    assert violations(deployment["spec"]["template"]["spec"]) == []
    labels = read(BASE / "namespace.yaml")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def manifests(name: str, kind: str) -> dict[str, Any]:
    """Those of one kind in a file of deploy/base, by name."""
    return {it["metadata"]["name"]: it for it in yaml.safe_load_all((BASE / name).read_text()) if it["kind"] == kind}


def admitted(policy: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """The labels of namespaces, by the name of the port that they reach."""
    return {
        port["port"]: [peer["namespaceSelector"]["matchLabels"] for peer in rule["from"]]
        for rule in policy["spec"]["ingress"]
        for port in rule["ports"]
    }


METACONTROLLER = {"kubernetes.io/metadata.name": "metacontroller"}
SCRAPERS = {"metrics": "enabled"}


@pytest.mark.parametrize(
    ("file", "name", "reached"),
    [
        ("hooks.yaml", "inference-operator", {"http": [METACONTROLLER], "metrics": [SCRAPERS]}),
        ("agent.yaml", "inference-agent", {"http": [SCRAPERS]}),
    ],
)
def test_pods_are_reached_by_those_who_need_them_and_nobody_else(file: str, name: str, reached: Any) -> None:
    policy = manifests("network.yaml", "NetworkPolicy")[name]
    deployment = manifests(file, "Deployment")[name]
    pod = deployment["spec"]["template"]
    assert policy["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    assert policy["spec"]["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
    assert "Ingress" in policy["spec"]["policyTypes"]
    assert admitted(policy) == reached
    assert set(reached) == {port["name"] for it in pod["spec"]["containers"] for port in it["ports"]}


def test_only_metacontrollers_own_pods_reach_the_hooks_which_reach_nothing() -> None:
    spec = manifests("network.yaml", "NetworkPolicy")["inference-operator"]["spec"]
    [hooks] = [rule for rule in spec["ingress"] if rule["ports"] == [{"port": "http"}]]
    [peer] = hooks["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "metacontroller"}
    assert "Egress" in spec["policyTypes"]
    assert spec["egress"] == []


def test_what_prometheus_and_the_kubelet_ask_is_not_the_port_of_the_hooks() -> None:
    [deployment] = manifests("hooks.yaml", "Deployment").values()
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert container["args"] == ["serve", f"--port={ports['http']}", f"--probes-port={ports['metrics']}"]
    assert {container[it]["httpGet"]["port"] for it in ("readinessProbe", "livenessProbe")} == {"metrics"}
    [service] = manifests("hooks.yaml", "Service").values()
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    assert {(it["name"], it["targetPort"]) for it in service["spec"]["ports"]} == {
        ("http", "http"),
        ("metrics", "metrics"),
    }


def test_the_hooks_have_memory_for_the_most_that_they_let_in() -> None:
    """Two processes, all bodies in flight, the answers, and what the workers may take for the bodies of pools."""
    [deployment] = manifests("hooks.yaml", "Deployment").values()
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    edge = Edge(Settings(), Workers(Settings()))
    workers = SLOTS * MEMORY_BASE + MEMORY_PER_BYTE * edge.pools.most_held
    bodies = edge.pools.most_held + edge.others.most_held
    most = workers + bodies + 2 * 100 * MEBI + 32 * MEBI
    assert parse_quantity(container["resources"]["limits"]["memory"]) >= most


def test_people_may_work_with_every_kind_that_they_write() -> None:
    known = {kind.plural for kind in KINDS}
    for role in yaml.safe_load_all((BASE / "rbac.yaml").read_text()):
        granted = {resource for rule in role["rules"] for resource in rule["resources"] if "/" not in resource}
        written = {"inferenceservices", "modelcaches", "inferenceendpoints"}
        assert written <= granted <= known, f"edit {role['metadata']['name']} in deploy/base/rbac.yaml"


def test_every_reason_is_used() -> None:
    code = "\n".join(path.read_text() for path in (PROJECT / "app").rglob("*.py"))
    unused = [reason.name for reason in Reason if f"Reason.{reason.name}" not in code]
    assert unused == [], "remove it from app/kube/conditions.py, or use it"


PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
PINS = {
    canonicalize_name(it.name): str(it.specifier).removeprefix("==")
    for it in map(
        Requirement, (line for line in (PROJECT / "constraints.txt").read_text().splitlines() if line[:1] != "#")
    )
}
GROUPS = {name: [it for it in group if isinstance(it, str)] for name, group in PYPROJECT["dependency-groups"].items()}
OPERATOR = PYPROJECT["project"]["dependencies"]
DOWNLOADER = [*OPERATOR, *PYPROJECT["project"]["optional-dependencies"]["downloader"]]
LOCKS = {
    "operator": OPERATOR,
    "downloader": DOWNLOADER,
    "dev": [*DOWNLOADER, *GROUPS["dev"], *GROUPS["perf"]],
    "build": [*GROUPS["build"], *PYPROJECT["build-system"]["requires"]],
    "bench": GROUPS["bench"],
    "ray": GROUPS["ray"],
}
"""What each file of requirements/ is for."""


def test_every_requirement_is_pinned_to_a_version_that_fits() -> None:
    for text in (it for wanted in LOCKS.values() for it in wanted):
        requirement = Requirement(text)
        version = PINS.get(canonicalize_name(requirement.name))
        assert version is not None, f"add {requirement.name}==<version> to constraints.txt"
        assert requirement.specifier.contains(version, prereleases=True), f"constraints.txt: {version} is not {text}"


def locked(name: str) -> dict[str, tuple[str, str]]:
    """Version, and what follows it, of each package of a lock."""
    text = re.sub(r"\\\n", " ", (PROJECT / f"requirements/{name}.txt").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    parts = [re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)(.*)", line) for line in lines]
    assert all(parts), f"requirements/{name}.txt: {lines}"
    return {canonicalize_name(it[1]): (it[2], it[3]) for it in parts if it}


def test_there_is_no_other_lock() -> None:
    assert {it.stem for it in (PROJECT / "requirements").iterdir()} == LOCKS.keys()


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_its_version_and_hashes(name: str) -> None:
    found = locked(name)
    assert {package: version for package, (version, _) in found.items()}.items() <= PINS.items(), "run `make lock`"
    bare = [package for package, (_, rest) in found.items() if not re.search(r" --hash=sha256:[0-9a-f]{64}", rest)]
    assert bare == [], "run `make lock`"


@pytest.mark.parametrize("name", LOCKS)
def test_every_lock_has_what_is_asked_for(name: str) -> None:
    missing = {canonicalize_name(Requirement(it).name) for it in LOCKS[name]} - locked(name).keys()
    assert missing == set(), "run `make lock`"


def test_no_pin_is_left_over() -> None:
    assert PINS.keys() - {package for name in LOCKS for package in locked(name)} == set(), "edit constraints.txt"


@pytest.mark.parametrize(
    "target",
    [
        "deps",
        "lock",
        "test",
        "test-unit",
        "test-integration",
        "test-e2e",
        "lint",
        "deploy-local",
        "demo",
        "bench",
        "help",
    ],
)
def test_make_has_the_target_and_says_what_it_does(target: str) -> None:
    text = (PROJECT / "Makefile").read_text()
    assert re.search(rf"^{target}:.* ## \S", text, re.MULTILINE), f"add {target}: ... ## what it does to the Makefile"
    assert f".PHONY: {target}\n" in text
