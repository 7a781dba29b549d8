"""Every argument that the operator can emit, put before real vLLM's own parser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.fit.parallelism import Parallelism
from app.vllm.command import EngineSpec, Precision, build_command_line
from app.vllm.finding import Severity
from app.vllm.owned import argument_owner
from app.vllm.table import Argument, engine_arguments
from tests.images.environments import VLLM, VLLM_VERSION, UnavailableError
from tests.images.groups import golden_workload

pytestmark = pytest.mark.vllm
LATER = {"monokernel", "reasoning_effort_map", "sleep_mode_backend", "watchdog_config"}
"""Arguments of the images' vLLM that the last release for CPUs does not have yet."""
LATER_CHOICES = {
    ("gdn_prefill_backend", "sycl"),
    ("mm_processor_device", "cuda"),
    ("moe_backend", "aiter_triton_mxfp4_mxfp4"),
    ("spec_method", "step5_mtp"),
}
SPECIAL = {"distributed_executor_backend": "mp", "lora_modules": "adapter=/models/adapter"}
SAMPLES: dict[str, Any] = {
    "bool": True, "flag": True, "int": 1, "float": 0.5, "size": "4K", "json": {}, "json list": ["x"], "text": "/x",
}  # fmt: skip
PLACE = ["--nnodes=2", "--node-rank=1", "--master-addr=a.b.c", "--master-port=29501", "--headless"]


def verdicts(commands: Sequence[Sequence[str]]) -> list[str]:
    """What the parser says to each, "" where it takes it."""
    try:
        venv = VLLM.ensure()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    script = Path(__file__).with_name("real_parser.py")
    given = json.dumps([list(command) for command in commands])
    done = subprocess.run([venv / "bin/python", script], input=given, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def sample(argument: Argument) -> Any:
    own = [SPECIAL[argument.name]] if argument.name in SPECIAL else []
    value = next(iter((*own, *argument.choices, *argument.known)), SAMPLES.get(argument.type, "{}"))
    return [value] if argument.many else value


def test_every_argument_that_users_may_give_is_taken_as_it_is_rendered() -> None:
    table = engine_arguments()
    names = [name for name in table.arguments if not argument_owner(name)]
    built = {name: command(engine_args={name: sample(table.arguments[name])}) for name in names}
    refused = {name: said for name, said in zip(names, verdicts(list(built.values())), strict=True) if said}
    assert {name for name, said in refused.items() if "unrecognized" in said} == LATER
    assert {name: said for name, said in refused.items() if name not in LATER} == {}


def test_every_choice_of_an_argument_is_one_of_the_parsers() -> None:
    table = engine_arguments()
    cases = [
        (name, choice)
        for name, argument in table.arguments.items()
        if not argument_owner(name) and name not in LATER
        for choice in argument.choices
    ]
    built = [command(engine_args={name: choice}) for name, choice in cases]
    refused = {case: said for case, said in zip(cases, verdicts(built), strict=True) if said}
    assert set(refused) == LATER_CHOICES, f"refused by vLLM {VLLM_VERSION}"


def test_what_the_operator_sets_itself_is_taken() -> None:
    commands = [
        command(
            precision=precision,
            max_tokens=4096,
            temperature=0.7,
            parallelism=Parallelism(2, 2, 2, expert_parallel=True),
            nodes=2,
        )
        for precision in Precision
    ]
    assert verdicts([[*it, *PLACE] for it in commands]) == [""] * len(commands)


def test_single_keys_of_json_arguments_are_taken() -> None:
    keys = {"override_generation_config.top_p": 0.9, "compilation_config.pass_config.fuse_norm_quant": True}
    commands = [command(engine_args={key: value}, temperature=0.7) for key, value in keys.items()]
    assert verdicts(commands) == [""] * len(commands)


def test_structured_arguments_are_taken() -> None:
    adapters = [{"name": "sql", "path": "/x/sql"}, "b=/y", {"name": "c", "path": "/z", "base_model_name": "x"}]
    given: list[dict[str, Any]] = [
        {"enable_lora": True, "lora_modules": adapters},
        {"lora_modules": {"sql": "/x,y=z"}},
        {"middleware": ["a.b", "c.d"]},
        {"limit_mm_per_prompt": {"image": {"count": 2, "width": 512, "height": 512}}},
        {"tool_server": ["a:1", "b:2"]},
        {"compilation_config.cudagraph_capture_sizes": [1, 2]},
    ]
    assert verdicts([command(engine_args=arguments) for arguments in given]) == [""] * len(given)


def test_the_arguments_of_the_samples_are_taken() -> None:
    samples = ("basic-test/03-ready", "distributed-test/03-ready", "llama2-7b-service/07-ready")
    arguments = []
    for case in samples:
        of = golden_workload(case)["spec"]
        template = of["template"] if "template" in of else of["leaderWorkerTemplate"]["leaderTemplate"]
        arguments.append(template["spec"]["containers"][0]["args"])
    assert verdicts(arguments) == [""] * len(samples)


def test_the_real_one_serves_no_grpc_without_its_extra() -> None:
    """So ports for gRPC stay GRPCUnavailable; with the extra, gRPC would take the place of HTTP."""
    try:
        venv = VLLM.ensure()
    except UnavailableError as reason:
        pytest.skip(str(reason))
    run = [str(venv / "bin/vllm"), "serve", "--grpc", "--model=/nothing"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode != 0
    assert "gRPC mode requires smg-grpc-servicer" in done.stderr


def command(**spec: Any) -> tuple[str, ...]:
    line = build_command_line(EngineSpec(model="/model-store/x", served_name="x", **spec))
    assert not [it for it in line.findings if it.severity is Severity.ERROR], line.findings
    return line.arguments
