"""docs/plan.md shows what the program prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from app.cli.main import EXIT_CODES
from app.cli.usage import build_parser
from tests.cli.questions import one, run, service, written
from tools.sandbox.nodes import build_node
from tools.sandbox.operator import PROJECT

PAGE = (PROJECT / "docs" / "plan.md").read_text()
TAINT = {"taints": [{"key": "maintenance", "effect": "NoSchedule"}]}


def block(kind: str, beginning: str) -> str:
    [found] = re.findall(rf"^```{kind}\n({re.escape(beginning)}.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_output_shown_is_what_the_example_gives(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(block("yaml", "apiVersion"))
    cluster = [
        build_node(0),
        build_node(1) | {"spec": TAINT},
        build_node(0, prefix="small", gpus=4),
        build_node(0, prefix="cpu", product=None),
    ]
    done = run("plan", "-f", file, "--nodes", written(tmp_path, "nodes.yaml", *cluster))
    shown = block("text", "$ kubectl inference plan").split("\n", 1)[1]
    assert done.stdout.strip() == shown.strip()


def test_the_replay_shown_is_what_the_request_gives() -> None:
    command, shown = block("text", "$ kubectl inference replay").split("\n", 1)
    file = command.split()[-1]
    done = run("replay", "--diff", PROJECT / file)
    assert done.stdout.replace(f"{PROJECT}/", "").strip() == shown.strip()


def test_every_field_of_an_answer_and_every_exit_code_is_explained(tmp_path: Path) -> None:
    answer = one(service())
    fields = [f"memory.{key}" if key in answer["memory"] else key for key in (*answer, *answer["memory"])]
    for field in fields:
        assert f"`{field}`" in PAGE, f"{field} is not explained in docs/plan.md"
    files = written(tmp_path, "s.yaml", service()), written(tmp_path, "n.yaml", build_node(0))
    more = json.loads(run("plan", "-f", files[0], "--nodes", files[1], "-o", "json").stdout)
    for field in more.keys() - answer.keys():
        assert f"`{field}`" in PAGE, f"{field} of -o json is not explained in docs/plan.md"
    for outcome, code in EXIT_CODES.items():
        assert re.search(rf"\| `{outcome}` \| {code} \|", PAGE)


@pytest.mark.parametrize("command", ["plan", "replay"])
def test_help_has_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args([command, "--help"])
    text = capsys.readouterr().out
    assert f"kubectl inference {command} " in text
    assert "examples:" in text
    assert "exit codes:" in text
