"""`kubectl inference plan` as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from app.cli.service import _PREDICATES, BROKEN
from app.inferenceservice.spec import InferenceServiceSpec
from tests.cli.ask import Object, call, node, run, service
from tests.topology.configs_written import CONFIGS

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "deploy" / "examples"
LLAMA_405B = "meta-llama/Llama-3.1-405B-Instruct"


def write(path: Path, *objects: Object) -> str:
    path.write_text(yaml.safe_dump_all(objects))
    return str(path)


@pytest.fixture
def nodes(tmp_path: Path) -> str:
    """As `kubectl get nodes -o yaml` writes them."""
    items = [node(), node(name="n1", gpus=2), node("none", "cpu", gpus=0)]
    return write(tmp_path / "nodes.yaml", {"apiVersion": "v1", "kind": "List", "items": items})


def test_the_decision_is_told_on_one_screen(tmp_path: Path, nodes: str) -> None:
    done = run("plan", "-f", write(tmp_path / "s.yaml", service(gpus=4)), "--nodes", nodes)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "InferenceService default/demo: fit"
    assert "  MI300X, TP 1 x PP 4 x DP 1" in lines
    assert "Memory of one GPU (192.0 GiB)" in lines
    bar = lines[lines.index("Memory of one GPU (192.0 GiB)") + 1]
    assert len(bar.strip()) == 60
    assert bar.strip().startswith("█")
    for word in ("weights", "overhead", "KV cache", "free"):
        assert any(line.split()[1:2] == word.split()[:1] and "GiB" in line for line in lines), word
    assert "  n0  4 GPUs" in lines
    assert "Nodes not taken: 2" in lines
    assert "     1  has 2 free GPUs, fewer than 4" in lines
    assert "     1  is no AMD GPU node" in lines
    assert "Not checked" in lines
    assert not any(line.startswith("What applying it does") for line in lines)


def test_json_is_a_line_of_a_batch_and_more(tmp_path: Path, nodes: str) -> None:
    asked = service(gpus=8, resources={"totalGpus": 8, "autoOptimize": True})
    file = write(tmp_path / "s.yaml", asked)
    done = run("plan", "-f", file, "--nodes", nodes, "-o", "json")
    found = json.loads(done.stdout)
    assert found["outcome"] == "fit"
    assert found["nodes"] == [{"name": "n0", "gpus": 8}]
    assert found["effect"] is None
    assert any("fits, but" in line for line in found["rejected"])


@pytest.mark.parametrize(
    ("asked", "code", "outcome"),
    [
        pytest.param(service(), 0, "fit", id="it fits"),
        pytest.param(service(LLAMA_405B), 3, "impossible", id="never"),
        pytest.param(service("org/new"), 4, "unknown", id="an unknown model"),
    ],
)
def test_the_exit_code_tells_the_outcome(tmp_path: Path, nodes: str, asked: Object, code: int, outcome: str) -> None:
    done = call("plan", "-f", write(tmp_path / "s.yaml", asked), "--nodes", nodes)
    assert (done.returncode, done.stdout.splitlines()[0]) == (code, f"InferenceService default/demo: {outcome}")


def test_who_waits_ends_with_one(tmp_path: Path) -> None:
    cordoned = write(tmp_path / "n.yaml", node(unschedulable=True))
    done = call("plan", "-f", write(tmp_path / "s.yaml", service()), "--nodes", cordoned)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "InferenceService default/demo: pending")


def test_a_cache_in_the_same_file_names_the_model_whatever_else_is_there(tmp_path: Path, nodes: str) -> None:
    cache = {
        "apiVersion": "inference.ai/v1alpha1",
        "kind": "ModelCache",
        "metadata": {"name": "weights"},
        "spec": {"modelName": "x", "source": {"huggingface": {"repository": "Qwen/Qwen3-8B"}}},
    }
    asked = service("chat", storage={"modelCache": "weights"})
    file = write(tmp_path / "s.yaml", {"apiVersion": "v1", "kind": "ConfigMap"}, cache, asked)
    assert call("plan", "-f", file, "--nodes", nodes).returncode == 0


def test_the_samples_can_be_planned(tmp_path: Path) -> None:
    """Their models are unknown, so they would be placed."""
    nodes = write(tmp_path / "nodes.yaml", *(node(name=f"n{number}") for number in range(4)))
    services = [it for it in sorted(EXAMPLES.rglob("*.yaml")) if "kind: InferenceService" in it.read_text()]
    assert services
    for example in services:
        done = call("plan", "-f", str(example), "--nodes", nodes)
        assert done.returncode == 4, f"{example}: {done.stderr}{done.stdout}"


def test_config_and_size_of_the_weights_are_read_from_files(tmp_path: Path, nodes: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIGS["Qwen/Qwen3-8B"]))
    arguments = ("plan", "-f", "-", "--nodes", nodes, "--model-config", str(config), "-o", "json")
    asked = yaml.safe_dump(service("org/x"))
    plain = json.loads(call(*arguments, stdin=asked).stdout)
    sized = json.loads(call(*arguments, "--weights-bytes", "20000000000", stdin=asked).stdout)
    assert plain["memory"]["weightsBytes"] == 16_381_470_720
    assert sized["memory"]["weightsBytes"] == 20_000_000_000


def test_settings_of_the_operator_count(tmp_path: Path, nodes: str) -> None:
    file = write(tmp_path / "s.yaml", service())
    done = run("plan", "-f", file, "--nodes", nodes, "--settings", str(PROJECT / "deploy" / "base" / "settings.env"))
    assert done.returncode == 3
    assert "have no label accelerator=amd-gpu" in done.stdout
    again = run("plan", "-f", file, "--nodes", nodes, env={"INFERENCE_NODE_SELECTOR": "accelerator=amd-gpu"})
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "is not YAML", id="no YAML"),
        pytest.param("just text", "has a document that is no Kubernetes object, but a text", id="a text"),
        pytest.param("{kind: Pod}\n---\n{kind: Service}", "has no InferenceService, but Pod, Service", id="others"),
        pytest.param("", "has no InferenceService, but nothing", id="empty"),
        pytest.param(
            yaml.safe_dump_all([service(), service()]), "has 2 InferenceServices: plan one at a time", id="two"
        ),
        pytest.param(
            yaml.safe_dump(service(vllm={"engineArgs": {"tensor_parallel_size": "two"}})),
            "spec.vllm.engineArgs.tensor_parallel_size is not accepted",
            id="a field of the wrong type",
        ),
    ],
)
def test_a_file_that_cannot_be_planned_is_told_in_a_sentence(tmp_path: Path, nodes: str, text: str, words: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    done = call("plan", "-f", str(file), "--nodes", nodes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["-f", "/nowhere"], "/nowhere cannot be read: No such file or directory", id="no file"),
        pytest.param(["-f", "/tmp"], "/tmp cannot be read: Is a directory", id="a folder"),
        pytest.param(["-f", "SERVICE", "--nodes", "/nowhere"], "/nowhere cannot be read", id="no nodes"),
        pytest.param(["-f", "SERVICE", "--nodes", "SERVICE"], "is no Node, but a InferenceService", id="no node"),
        pytest.param(["-f", "SERVICE", "--model-config", "SERVICE"], "is not JSON", id="no config"),
        pytest.param(["-f", "SERVICE", "--weights-bytes", "0"], "--weights-bytes must be a number", id="no bytes"),
        pytest.param(["-f", "SERVICE"], "no cluster to ask", id="no cluster"),
        pytest.param(["-f", "SERVICE", "--kubeconfig", "/nowhere"], "no cluster to ask", id="no kubeconfig"),
        pytest.param(["--batch", "/nowhere"], "/nowhere cannot be read", id="no batch"),
        pytest.param(["--batch", "-", "--nodes", "x"], "--nodes goes with -f", id="nodes of a batch"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    file = write(tmp_path / "s.yaml", service())
    done = run("plan", *(file if it == "SERVICE" else it for it in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_api_server_that_does_not_answer_is_told_in_a_sentence(tmp_path: Path) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "u", "user": {}}],
        "current-context": "x",
    }
    file, kubeconfig = write(tmp_path / "s.yaml", service()), write(tmp_path / "k.yaml", config)
    done = run("plan", "-f", file, env={"KUBECONFIG": kubeconfig})
    assert done.returncode == 2
    assert "error: the API server does not answer: " in done.stderr
    other = run("plan", "-f", file, "--kubeconfig", kubeconfig, "--context", "missing")
    assert other.returncode == 2
    assert "no cluster to ask" in other.stderr


def test_every_rule_across_fields_is_told_here_or_by_the_planner() -> None:
    planner = [start for start, breaks in _PREDICATES if breaks is None]
    untold = [rule.message for rule in InferenceServiceSpec.rules if rule.message not in BROKEN]
    assert [message.startswith(start) for message, start in zip(untold, planner, strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"resources": {}}, "set resources.totalGpus"),
        ({"resources": {"totalGpus": 1, "gpu": {"count": 2}}}, "resources.totalGpus and resources.gpu.count"),
        (
            {"resources": {"totalGpus": 1, "sharing": "shared", "gpu": {"strategy": "exclusive"}}},
            "resources.sharing and resources.gpu.strategy",
        ),
        (
            {"resources": {"totalGpus": 4}, "distributed": {"enabled": True, "size": 2, "workerReplicas": 3}},
            "distributed.size counts the leader",
        ),
        ({"distributed": {"enabled": True}}, "set distributed.size"),
        ({"autoscaling": {"enabled": True, "maxReplicas": 2}}, "set resources.cpuRequest"),
    ],
)
def test_what_admission_refuses_is_refused(tmp_path: Path, nodes: str, spec: Object, words: str) -> None:
    done = call("plan", "-f", write(tmp_path / "s.yaml", service(**spec)), "--nodes", nodes)
    assert done.returncode == 2
    assert words in done.stderr


def test_help_has_examples_and_exit_codes() -> None:
    done = run("plan", "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert "exit codes:" in done.stdout
    assert run("--help").stdout.startswith("usage: kubectl inference")
