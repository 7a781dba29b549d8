"""`plan -f`: what people read, what programs read, and what went wrong in a sentence."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.questions import SCRIPT, Json, nodes, one, run, service, written
from tools.sandbox.nodes import build_node

SEVENTY = "meta-llama/Llama-3.3-70B-Instruct"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A service, and two nodes."""
    asked = service(SEVENTY, 2, vllm={"engineArgs": {"tensor_parallel_size": 2}})
    return written(tmp_path, "service.yaml", asked), written(tmp_path, "nodes.yaml", *nodes(2))


def test_people_read_decision_memory_nodes_and_what_was_not_checked(files: tuple[Path, Path]) -> None:
    done = run("plan", "-f", files[0], "--nodes", files[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "Service  default/demo",
        "Outcome  FIT",
        "Sizes    TP 2 x PP 1 x DP 1, on MI300X, up to 131,072 tokens",
    ]
    assert "Memory of one GPU (MI300X)" in lines
    assert any(line.startswith("  weights   65.7 GiB") for line in lines)
    assert "  mi300x-0  2 GPUs" in lines
    assert "Not taken (1 of 2 nodes)" in lines
    assert "  1  has 8 free GPUs" in lines
    assert any("what pods of no service hold on the nodes is not known" in line for line in lines)


def test_fields_that_no_service_has_are_told_with_the_nearest_that_there_is(tmp_path: Path) -> None:
    vllm = {"engineArgs": {"anything": 1}, "envVars": {"ANY": "thing"}, "envVar": {}}
    asked = service(SEVENTY, 2, vllm=vllm, replica=2, resources={"totalGPUs": 2})
    file = written(tmp_path, "service.yaml", asked)
    done = run("plan", "-f", file, "--nodes", written(tmp_path, "nodes.yaml", *nodes(2)), "-o", "json")
    told = json.loads(done.stdout)["unchecked"]
    assert [it for it in told if it.startswith("there is no field")] == [
        "there is no field spec.replica; did you mean replicas?",
        "there is no field spec.resources.totalGPUs; did you mean totalGpus?",
        "there is no field spec.vllm.envVar; did you mean envVars?",
    ]


def test_a_bar_is_as_long_as_the_gpu(files: tuple[Path, Path]) -> None:
    [line] = [it for it in run("plan", "-f", files[0], "--nodes", files[1]).stdout.splitlines() if "█" in it]
    bar = line.strip()
    assert (bar[0], bar[-1], len(bar)) == ("[", "]", 62)
    assert bar.count("█") == round(60 * 65.7 / 192)
    assert bar.count("·") == pytest.approx(60 * 0.08, abs=1)


def test_a_terminal_gets_colours(files: tuple[Path, Path]) -> None:
    master, slave = pty.openpty()
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "118"}
    with subprocess.Popen([SCRIPT, "plan", "-f", files[0], "--nodes", files[1]], stdout=slave, env=env) as process:
        os.close(slave)
        seen = b""
        while chunk := _read(master):
            seen += chunk
    os.close(master)
    assert process.returncode == 0
    assert b"\x1b[1;32mFIT" in seen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux answers EIO once the other end is closed
        return b""


def test_programs_read_the_answer_of_a_batch_and_more(files: tuple[Path, Path]) -> None:
    answer = json.loads(run("plan", "-f", files[0], "--nodes", files[1], "-o", "json").stdout)
    asked = service(SEVENTY, 2, vllm={"engineArgs": {"tensor_parallel_size": 2}})
    assert answer.items() >= one(asked, nodes(2)).items()
    assert answer["service"] == "default/demo"
    assert "--tensor-parallel-size=2" in answer["arguments"]
    assert answer["running"] is None


@pytest.mark.parametrize(
    ("asked", "cluster", "code"),
    [
        (service(), nodes(), 0),
        (service(), [build_node(0) | {"spec": {"unschedulable": True}}], 3),
        (service("meta-llama/Llama-3.1-405B-Instruct"), nodes(), 4),
        (service("org/unknown"), nodes(), 5),
    ],
    ids=["fit", "pending", "impossible", "unknown"],
)
def test_the_exit_code_tells_the_outcome(asked: Json, cluster: list[Json], code: int, tmp_path: Path) -> None:
    files = written(tmp_path, "service.yaml", asked), written(tmp_path, "nodes.yaml", *cluster)
    assert run("plan", "-f", files[0], "--nodes", files[1]).returncode == code


def test_of_several_services_the_worst_counts_and_all_are_told(tmp_path: Path) -> None:
    second = service("meta-llama/Llama-3.1-405B-Instruct")
    second["metadata"] = {"name": "second", "namespace": "team"}
    file = written(tmp_path, "all.yaml", service(), second)
    done = run("plan", "-f", file, "--nodes", written(tmp_path, "nodes.yaml", {"kind": "List", "items": nodes()}))
    assert done.returncode == 4
    assert [line for line in done.stdout.splitlines() if line.startswith("Service")] == [
        "Service  default/demo",
        "Service  team/second",
    ]


def test_a_model_cache_of_the_same_file_names_the_model(tmp_path: Path) -> None:
    cache = {
        "apiVersion": "inference.ai/v1alpha1",
        "kind": "ModelCache",
        "metadata": {"name": "weights"},
        "spec": {
            "modelName": "eight",
            "source": {"type": "huggingface", "huggingface": {"repository": "Qwen/Qwen3-8B"}},
        },
    }
    asked = service("served-as-this", storage={"modelCache": "weights"})
    cluster = written(tmp_path, "nodes.yaml", *nodes())
    assert run("plan", "-f", written(tmp_path, "a.yaml", asked, cache), "--nodes", cluster).returncode == 0
    assert run("plan", "-f", written(tmp_path, "b.yaml", asked), "--nodes", cluster).returncode == 5


def test_a_config_and_a_size_are_taken_from_the_command_line(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 2,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 512,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    files = written(tmp_path, "service.yaml", service("org/mine")), written(tmp_path, "nodes.yaml", *nodes())
    told = ("--model-config", tmp_path / "config.json", "--weights-bytes", "1000000000", "-o", "json")
    answer = json.loads(run("plan", "-f", files[0], "--nodes", files[1], *told).stdout)
    assert (answer["outcome"], answer["maxModelLen"]) == ("fit", 4096)
    assert answer["memory"]["weightsBytes"] == 1_000_000_000


MISTAKES = {
    "not YAML": ("a: [", "{file} is not YAML: line 2, column 1: "),
    "no object": ("- 1\n", "{file} holds no Kubernetes object, but list"),
    "nothing": ("", "{file} has no InferenceService in it, only nothing"),
    "another kind": ("kind: Pod\n", "{file} has no InferenceService in it, only Pod"),
    "no spec": ("kind: InferenceService\n", "the InferenceService has no spec"),
    "a part of itself": (
        "kind: InferenceService\nspec: &it {vllm: *it}\n",
        "{file} has something that no JSON can hold",
    ),
    "too deep": ("[" * 50_000, "{file} is nested deeper than 200 levels"),
    "wrong field": (
        "kind: InferenceService\nspec: {model: {name: a}, resources: {totalGpus: 0}}\n",
        "InferenceService service is not accepted: spec.resources.totalGpus: Input should be greater than",
    ),
    "too many values": (
        "kind: InferenceService\nspec: {model: {name: a}, resources: {totalGpus: 1}, vllm: {engineArgs: {a: ["
        + "[]," * 5_000
        + "]}}}\n",
        "InferenceService service is not accepted: spec.vllm.engineArgs: it can hold 4096 values at most",
    ),
    "no model": (
        "kind: InferenceService\nspec: {resources: {totalGpus: 1}}\n",
        "InferenceService service is not accepted: spec.model: Field required",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_no_traceback(mistake: str, tmp_path: Path) -> None:
    text, sentence = MISTAKES[mistake]
    file = tmp_path / "service.yaml"
    file.write_text(text)
    done = run("plan", "-f", file, "--nodes", written(tmp_path, "nodes.yaml", *nodes()))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"kubectl inference: {sentence.format(file=file)}")
    assert done.stderr.count("\n") == 1


def test_without_a_cluster_and_without_nodes_it_says_what_to_give(files: tuple[Path, Path]) -> None:
    done = run("plan", "-f", files[0])
    assert done.returncode == 1
    assert "give --nodes FILE" in done.stderr.lower().replace("file", "FILE") or "--nodes FILE" in done.stderr
    unreachable = run("plan", "-f", files[0], "--kubeconfig", _kubeconfig(files[0].parent))
    assert unreachable.returncode == 1
    assert unreachable.stderr.startswith("kubectl inference: the API server http://127.0.0.1:9 cannot be reached: ")


def _kubeconfig(folder: Path) -> Path:
    """Port 9 answers nobody."""
    return written(
        folder,
        "kubeconfig",
        {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": "http://127.0.0.1:9"}}],
            "users": [{"name": "it", "user": {}}],
        },
    )


@pytest.mark.parametrize("coding", ["ascii", "utf-8"])
def test_any_terminal_shows_the_table(coding: str, files: tuple[Path, Path]) -> None:
    """A pod's shell often knows no Unicode."""
    done = run("plan", "-f", files[0], "--nodes", files[1], env={"PYTHONIOENCODING": coding})
    assert (done.returncode, done.stderr) == (0, "")
    assert "Outcome  FIT" in done.stdout


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_standard_input_is_utf_8_in_every_locale(locale: str, files: tuple[Path, Path]) -> None:
    command = [str(SCRIPT), "plan", "-f", "-", "--nodes", str(files[1])]
    env = {"PATH": os.environ["PATH"], "LC_ALL": locale}
    text = files[0].read_bytes()
    good = subprocess.run(command, input=text + "# é\n".encode(), env=env, capture_output=True, check=False)
    assert (good.returncode, good.stderr) == (0, b"")
    bad = subprocess.run(command, input=text + b"# \xe9\n", env=env, capture_output=True, check=False)
    assert (bad.returncode, bad.stderr) == (1, b"kubectl inference: standard input is no text\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch", "a", "--nodes", "b"), "--nodes: with --batch each line says this itself"),
        (("--batch", "a", "--weights-bytes", "1"), "--weights-bytes: with --batch each line says this itself"),
        (("-f", "-", "--nodes", "-"), "only one file can come from standard input"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments: tuple[str, ...], words: str) -> None:
    done = run("plan", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize("option", ["--batch", "--nodes"])
def test_a_file_without_a_name_cannot_be_read(option: str, files: tuple[Path, Path]) -> None:
    done = run("plan", *(() if option == "--batch" else ("-f", files[0])), option, "")
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
