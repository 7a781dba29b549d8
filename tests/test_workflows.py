"""GitHub's workflows against the tree: what a wrong word there would break shows only when a runner runs it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.test_docs import rows, section

PROJECT = Path(__file__).parents[1]
GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
FILES = [*WORKFLOWS, *ACTIONS]
CI_PAGE = PROJECT / "docs/ci.md"
BUILT = ("build/", "~/", "!~/", ".hypothesis")
"""What a job makes, or keeps from run to run."""

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(GITHUB)))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)

Json = dict[str, Any]


def read(path: Path) -> Json:
    """With the word `on` as GitHub reads it: YAML 1.1 takes it for true."""
    content = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in content.items()}


def jobs(path: Path) -> dict[str, Json]:
    return dict(read(path).get("jobs", {}))


def steps(path: Path) -> Iterator[Json]:
    content = read(path)
    yield from content.get("runs", {}).get("steps", ())
    for job in content.get("jobs", {}).values():
        yield from job["steps"]


def make_targets(command: str) -> list[str]:
    """Targets of every call of make in a step; variables and options are none."""
    calls = re.findall(r"(?:^|\s)make((?: [^\n;&|]+)?)", re.sub(r"\"[^\"]*\"", "", command))
    return [word for call in calls for word in call.split() if re.fullmatch(r"[a-z][a-z0-9-]*", word)]


@every_file
def test_every_action_is_pinned_by_its_commit_and_names_its_version(path: Path) -> None:
    used = re.findall(r"uses: *(\S+)(.*)", path.read_text())
    loose = [
        f"{action}{rest}"
        for action, rest in used
        if not action.startswith("./")
        and not (re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) and re.fullmatch(r" # v\d+\.\d+\.\d+", rest))
    ]
    assert loose == [], f"{path.name}: write `uses: owner/name@<40 hex digits> # vX.Y.Z`"


def test_an_action_has_one_version_everywhere() -> None:
    used = {(name, commit) for path in FILES for name, commit in re.findall(r"uses: *(\S+)@(\S+)", path.read_text())}
    assert len({name for name, _ in used}) == len(used), sorted(used)


@every_workflow
def test_every_job_has_an_end_and_the_least_rights(path: Path) -> None:
    assert read(path)["permissions"] == {}, f"{path.name}: nothing is allowed unless a job says so"
    for name, job in jobs(path).items():
        assert isinstance(job.get("timeout-minutes"), int), f"{path.name}: {name} needs timeout-minutes"
        assert "permissions" in job, f"{path.name}: {name} needs permissions"
        assert set(job["permissions"].items()) <= {("contents", "read")}, (
            f"{path.name}: {name}: say why, and change this"
        )


@every_workflow
def test_a_superseded_run_is_cancelled_or_waited_for(path: Path) -> None:
    assert {"group", "cancel-in-progress"} <= read(path)["concurrency"].keys()


@every_file
def test_every_make_target_exists(path: Path) -> None:
    existing = set(re.findall(r"^([a-z0-9-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {target for step in steps(path) for target in make_targets(step.get("run", ""))}
    assert named <= existing, f"{path.name}: no such target: {sorted(named - existing)}"


def test_calls_of_make_are_found_in_any_step() -> None:
    assert make_targets('sudo env "HOME=$HOME" "PATH=$PATH" make test-images') == ["test-images"]
    assert make_targets("make images push-images") == ["images", "push-images"]
    assert make_targets('make fuzz ARGS="--minutes $MINUTES"') == ["fuzz"]
    assert make_targets("cd x\nmake lint && make test") == ["lint", "test"]
    assert make_targets("cmake --build x") == []


@every_file
def test_every_script_that_is_run_exists(path: Path) -> None:
    named = {word for step in steps(path) for word in re.findall(r"(?:^|\s)(\.ci/[\w-]+)", step.get("run", ""))}
    lacking = [name for name in named if not os.access(PROJECT / name, os.X_OK)]
    assert lacking == [], f"{path.name}: no such program"


def test_every_script_is_linted() -> None:
    scripts = {f".ci/{path.name}" for path in (PROJECT / ".ci").iterdir() if path.is_file()}
    listed = re.search(r"^SCRIPTS := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    assert set(listed[1].split()) == scripts, "Makefile: SCRIPTS are all programs of .ci"


def paths_of(path: Path) -> Iterator[str]:
    """Paths of the tree that a workflow or action names."""
    content = read(path)
    for trigger in (content.get("on") or {}).values():
        yield from trigger.get("paths", ()) if isinstance(trigger, dict) else ()
    for step in steps(path):
        given: Mapping[str, Any] = step.get("with", {})
        for key in ("path", "cache-dependency-path", "go-version-file"):
            yield from str(given.get(key, "")).split()
        for call in re.findall(r"hashFiles\(([^)]*)\)", str(given)):
            yield from re.findall(r"'([^']+)'", call.replace("\\", ""))
        if str(step.get("uses", "")).startswith("./"):
            yield f"{step['uses'].removeprefix('./')}/action.yml"


@every_file
def test_every_path_of_the_tree_exists(path: Path) -> None:
    named = [it for it in paths_of(path) if not it.startswith(BUILT)]
    lacking = [it for it in named if not any(PROJECT.glob(it.replace("/**", "/*")))]
    assert lacking == [], f"{path.name}: these paths name nothing"


def test_folders_whose_dependencies_are_updated_exist_and_none_is_forgotten() -> None:
    files = {"gomod": "go.mod", "docker": "Dockerfile", "pip": "pyproject.toml"}
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    listed = {it["package-ecosystem"]: set(it.get("directories") or [it["directory"]]) for it in updates}
    for ecosystem, file in files.items():
        tracked = [it for it in PROJECT.rglob(file) if not {".venv", "build"} & set(it.relative_to(PROJECT).parts)]
        folders = {f"/{it.parent.relative_to(PROJECT)}".replace("/.", "/") if it.parent == PROJECT else
                   f"/{it.parent.relative_to(PROJECT)}" for it in tracked}  # fmt: skip
        assert listed[ecosystem] == folders, f".github/dependabot.yml: directories of {ecosystem}"
    actions = {f"/{it.parent.relative_to(PROJECT)}" for it in ACTIONS}
    assert listed["github-actions"] == {"/", *actions}, ".github/dependabot.yml: directories of github-actions"


@every_workflow
def test_no_step_finds_the_repositorys_token_in_the_checkout(path: Path) -> None:
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@every_workflow
def test_what_strangers_propose_runs_on_no_machine_of_ours(path: Path) -> None:
    ours = [name for name, job in jobs(path).items() if "self-hosted" in str(job["runs-on"])]
    assert not ours or not {"pull_request", "pull_request_target"} & read(path)["on"].keys(), f"{path.name}: {ours}"


@every_workflow
@pytest.mark.parametrize(("up", "down"), [("kind-up", "kind-down"), ("setup-e2e-cluster", "cleanup-e2e-cluster")])
def test_what_a_job_sets_up_it_takes_down_however_it_ends(path: Path, up: str, down: str) -> None:
    for name, job in jobs(path).items():
        runs = [(step.get("if", ""), make_targets(step.get("run", ""))) for step in job["steps"]]
        if any(up in targets for _, targets in runs):
            assert ("always()", [down]) == runs[-1], f"{path.name}: {name} ends with `make {down}` and `if: always()`"


def test_every_python_that_is_declared_is_tested() -> None:
    classifiers = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["classifiers"]
    declared = [it.rpartition(" ")[2] for it in classifiers if re.search(r":: 3\.\d+$", it)]
    for job in ("lint", "unit"):
        assert jobs(GITHUB / "workflows/test.yml")[job]["strategy"]["matrix"]["python"] == declared


def test_the_last_job_waits_for_all_others() -> None:
    found = jobs(GITHUB / "workflows/test.yml")
    assert set(found["all"]["needs"]) == found.keys() - {"all"}


def test_the_page_on_ci_has_every_job_and_variable() -> None:
    explained = {row[0].strip("`") for row in rows(section(CI_PAGE, "Jobs"))}
    existing = {f"{path.stem} / {name}" for path in WORKFLOWS for name in jobs(path)}
    assert explained == existing, "docs/ci.md, Jobs: one row a job"
    used = {name for path in WORKFLOWS for name in re.findall(r"vars\.(\w+)", path.read_text())}
    told = {row[0].strip("`") for row in rows(section(CI_PAGE, "A runner with AMD GPUs"))}
    assert told == used, "docs/ci.md: one row a variable"
    assert set(yaml.safe_load((GITHUB / "actionlint.yaml").read_text())["config-variables"]) == used
