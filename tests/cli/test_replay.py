"""`kubectl inference replay`: a captured request has the answer that the hook gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli.replay import find_kind, replay
from app.kinds import DECORATORS
from tests.cli.ask import call, run
from tests.golden.replay import REQUESTS, case_name, kind_of, load, settings_of
from tests.golden.replay import replay as golden

READY = next(path for path in REQUESTS if case_name(path) == "inferenceservice/basic-test/03-ready")
CREATED = next(path for path in REQUESTS if case_name(path) == "inferenceservice/basic-test/01-created")


@pytest.mark.parametrize("path", REQUESTS, ids=case_name)
def test_a_captured_request_is_answered_as_by_the_hook(path: Path) -> None:
    content = load(path)
    assert find_kind(content) == kind_of(path)
    answer, wanted = replay(content, settings_of(path)), golden(path, content)
    children = "attachments" if kind_of(path) in DECORATORS else "children"
    assert sorted(map(json.dumps, answer.pop(children))) == sorted(map(json.dumps, wanted.pop(children)))
    assert answer == wanted


def test_yaml_and_json_say_the_same() -> None:
    text = run("replay", str(READY))
    assert (text.returncode, text.stderr) == (0, "")
    answer = json.loads(run("replay", "-o", "json", str(READY)).stdout)
    assert yaml.safe_load(text.stdout) == answer
    assert {child["kind"] for child in answer["children"]} >= {"Deployment", "Service", "GPURequest"}
    piped = run("replay", "-o", "json", "-", stdin=READY.read_text())
    assert json.loads(piped.stdout) == answer


def test_the_difference_to_what_is_observed_is_told() -> None:
    done = run("replay", "--diff", str(CREATED))
    assert done.returncode == 1
    assert "Service inference-system/basic-test: made" in done.stdout.splitlines()
    assert 'status: phase: nothing -> "Pending"' in done.stdout.splitlines()


def test_nothing_differs_once_the_answer_is_what_is_observed(tmp_path: Path) -> None:
    """The answer is fed back as observed, as a cluster does."""
    content, settings = load(READY), settings_of(READY)
    answer = replay(content, settings)
    observed: dict[str, dict[str, Any]] = {kind: {} for kind in content["children"]}
    for child in answer["children"]:
        key = f"{child['kind']}.{child['apiVersion']}"
        observed[key][f"{child['metadata']['namespace']}/{child['metadata']['name']}"] = child
    fed = content | {"parent": content["parent"] | {"status": answer["status"]}}
    for key, children in content["children"].items():
        for name, child in observed[key].items():
            status = children.get(name, {}).get("status")
            observed[key][name] = child | ({"status": status} if status else {})
    fed["children"] = observed
    file, variables = tmp_path / "fed.json", tmp_path / "settings.env"
    file.write_text(json.dumps(fed))
    variables.write_text("INFERENCE_NODE_SELECTOR=accelerator=amd-gpu\nINFERENCE_STORAGE_CLASS=fast-ssd\n")
    done = run("replay", "--diff", "--settings", str(variables), str(file))
    assert (done.returncode, done.stdout) == (0, "nothing differs\n"), done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "is not JSON", id="no JSON"),
        pytest.param("[]", "holds no sync request", id="a list"),
        pytest.param("{}", "it has neither parent nor object", id="no parent"),
        pytest.param('{"parent": {"kind": "Pod", "metadata": {"name": "x"}}}', "no hook for kind Pod", id="a pod"),
        pytest.param('{"parent": {"kind": "GPUPool", "metadata": {}}}', "no metadata.name", id="no name"),
        pytest.param(
            '{"parent": {"kind": "InferenceService", "metadata": {"name": "x"}}}', "no metadata.namespace", id="nowhere"
        ),
        pytest.param(
            '{"parent": {"kind": "GPUPool", "metadata": {"name": "x"}, "spec": 3}}', "parent.spec", id="no spec"
        ),
    ],
)
def test_what_is_no_request_is_told_in_a_sentence(text: str, words: str) -> None:
    done = call("replay", "-", stdin=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
