"""`replay`: recorded requests, answered as the golden tests answer them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from app.kube.manifest import LAST_APPLIED
from tests.cli.questions import run
from tests.golden.replay import FOLDER, answer_path, kind_of, load

CASES = [
    FOLDER / "inferenceservice" / "basic-test" / "03-ready.request.json",
    FOLDER
    / "gpupool"
    / "default"
    / sorted(it.name for it in (FOLDER / "gpupool" / "default").glob("*.request.json"))[0],
    FOLDER / "gpunode" / "eight-mi300x" / "02-labelled.request.json",
]
SETTINGS = {
    f"INFERENCE_{name.upper()}": ",".join(f"{key}={text}" for key, text in value.items())
    if isinstance(value, dict)
    else value
    for name, value in load(FOLDER / "settings.json").items()
}


def by_name(answer: object) -> object:
    """Without an order of children."""
    found = json.loads(json.dumps(answer))
    for key in ("children", "attachments"):
        found.get(key, []).sort(key=lambda it: (it["apiVersion"], it["kind"], it["metadata"]["name"]))
    return found


@pytest.mark.parametrize("case", CASES, ids=kind_of)
def test_a_replay_is_what_the_golden_answer_says(case: Path) -> None:
    wanted = by_name(load(answer_path(case)))
    as_json, as_yaml = (run("replay", "-o", form, case, env=SETTINGS) for form in ("json", "yaml"))
    assert (as_json.returncode, as_json.stderr) == (0, "")
    assert by_name(json.loads(as_json.stdout)) == by_name(yaml.safe_load(as_yaml.stdout)) == wanted


def test_a_diff_tells_what_would_change_and_nothing_when_nothing_would(tmp_path: Path) -> None:
    created = FOLDER / "inferenceservice" / "basic-test" / "01-created.request.json"
    done = run("replay", "--diff", created, env=SETTINGS)
    assert done.returncode == 3
    assert "+ Service.v1 inference-system/basic-test would be created" in done.stdout.splitlines()

    request, answer = load(CASES[0]), load(answer_path(CASES[0]))
    request["parent"]["status"] = answer["status"]
    for child in answer["children"]:
        kind, metadata = f"{child['kind']}.{child['apiVersion']}", child["metadata"]
        observed = request["children"][kind].setdefault(f"{metadata['namespace']}/{metadata['name']}", dict(child))
        observed["metadata"] = {
            **metadata,
            "annotations": metadata.get("annotations", {}) | {LAST_APPLIED: json.dumps(child)},
        }
    settled = tmp_path / "settled.json"
    settled.write_text(json.dumps(request))
    again = run("replay", "--diff", settled, env=SETTINGS)
    assert (again.returncode, again.stdout) == (0, f"{settled}: nothing would change\n")


def test_a_changed_field_is_told_with_both_values(tmp_path: Path) -> None:
    request = load(CASES[0])
    [(_, service)] = request["children"]["Service.v1"].items()
    applied = json.loads(service["metadata"]["annotations"][LAST_APPLIED])
    applied["spec"]["ports"][0]["port"] = 81
    service["metadata"]["annotations"][LAST_APPLIED] = json.dumps(applied)
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))
    assert "spec.ports.http.port: 81 -> 8000" in run("replay", "--diff", file, env=SETTINGS).stdout


def test_what_is_no_request_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    for text, sentence in {
        "{": "is not JSON",
        "{}": "is no sync request: it has neither parent nor object",
        '{"parent": {"kind": "Pod", "metadata": {}}}': "is about pod; known are gpunode, gpupool, ",
        '{"parent": {"kind": "GPUPool"}}': "is not accepted: parent.metadata: Field required",
    }.items():
        file.write_text(text)
        done = run("replay", file)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"kubectl inference: {file} {sentence}")
