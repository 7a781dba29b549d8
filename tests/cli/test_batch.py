"""`plan --batch`: one line in, one line out, and every key always there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.batch import answer_lines
from app.settings import Settings
from tests.cli.ask import Object, answers, as_lines, node, run, service
from tests.topology.configs_written import CONFIGS, FP8_BLOCKS

LLAMA_405B = "meta-llama/Llama-3.1-405B-Instruct"
KEYS = [
    *("outcome", "product", "tensorParallel", "pipelineParallel", "dataParallel", "expertParallel", "maxModelLen"),
    *("nodes", "memory", "reasons", "excluded", "foreignUseUnknown"),
]


def ask(**question: Any) -> Object:
    """The answer to one question, in this process."""
    [(line, answered)] = answer_lines([as_lines([question])], Settings())
    assert answered, line
    found: Object = json.loads(line)
    assert list(found) == KEYS
    return found


def refusal(line: str) -> str:
    [(answer, answered)] = answer_lines([line], Settings())
    assert not answered
    found = json.loads(answer)
    assert list(found) == ["error"]
    return str(found["error"])


def sized(model: str, gpus: int, **sizes: int) -> Object:
    arguments = {f"{axis}_parallel_size": size for axis, size in sizes.items()}
    return service(model, gpus, vllm={"engineArgs": arguments})


def test_a_service_that_fits_is_told_with_its_numbers() -> None:
    assert ask(service=service("meta-llama/Llama-3.1-8B-Instruct"), nodes=[node()]) == {
        "outcome": "fit",
        "product": "MI300X",
        "tensorParallel": 1,
        "pipelineParallel": 1,
        "dataParallel": 1,
        "expertParallel": False,
        "maxModelLen": 131072,
        "nodes": [{"name": "n0", "gpus": 1}],
        "memory": {
            "weightsBytes": 16_060_522_496,
            "kvCacheBytesPerToken": 131_072,
            "overheadBytes": 8_245_666_119,
            "budgetBytes": 189_650_320_752,
            "maxSequences": 9,
        },
        "reasons": [
            "MI300X: TP 1 x PP 1 x DP 1 by strategy dynamic: weights 15.0 GiB + overhead 7.7 GiB of 176.6 GiB usable "
            "leave 154.0 GiB for the KV cache: 9 sequences of 131,072 tokens",
            "1 pod of 1 GPU on n0.",
        ],
        "excluded": {},
        "foreignUseUnknown": True,
    }


@pytest.mark.parametrize(
    ("asked", "config", "words"),
    [
        pytest.param(
            service(LLAMA_405B),
            None,
            "MI300X: TP 1 x PP 1 x DP 1 needs 835.5 GiB a GPU, MI300X has 192.0 GiB",
            id="405B",
        ),
        pytest.param(
            sized("microsoft/phi-4", 8, tensor=8), None, "10 key-value heads cannot be divided by TP 8", id="KV heads"
        ),
        pytest.param(
            sized("Qwen/Qwen2.5-7B-Instruct", 8, tensor=8),
            None,
            "28 attention heads cannot be divided by TP 8",
            id="heads",
        ),
        pytest.param(
            sized("org/edition", 8, tensor=8),
            CONFIGS["Qwen/Qwen2.5-72B-Instruct"] | {"quantization_config": FP8_BLOCKS},
            "MLP width 29,568 / TP 8 = 3,696 is no multiple of 128",
            id="a slice of FP8 blocks",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_numbers(asked: Object, config: Object | None, words: str) -> None:
    answer = ask(service=asked, nodes=[node()], modelConfig=config)
    assert answer["outcome"] == "impossible"
    assert any(words in reason for reason in answer["reasons"]), answer["reasons"]
    assert answer["nodes"] == []
    assert sum(answer["excluded"].values()) == 1


def test_what_waits_says_so_and_counts_add_up_to_all_nodes() -> None:
    tainted = [{"key": "maintenance", "value": "", "effect": "NoSchedule"}]
    nodes = [
        node(name="tainted", taints=tainted),
        node("MI210", "small", gpus=4),
        node("none", "cpu", gpus=0),
        node("none", "marked", gpus=0, labels={"amd.com/gpu.family": "AI"}),
    ]
    answer = ask(service=service(gpus=8, vllm={"engineArgs": {"tensor_parallel_size": 8}}), nodes=nodes)
    assert answer["outcome"] == "pending"
    assert answer["excluded"] == {
        "has the taint maintenance:NoSchedule": 1,
        "has 4 free GPUs, fewer than 8": 1,
        "is no AMD GPU node": 1,
        "offers no GPUs": 1,
    }
    assert answer["memory"]["maxSequences"] > 0


def test_nodes_that_are_too_small_make_it_impossible() -> None:
    answer = ask(service=service(gpus=16), nodes=[node()])
    assert answer["outcome"] == "impossible"
    assert "no node of the pool could ever give that" in answer["reasons"][-1]


def test_without_nodes_nothing_is_known_but_what_no_gpu_could_hold() -> None:
    assert ask(service=service(), nodes=[])["outcome"] == "unknown"
    assert ask(service=service(LLAMA_405B), nodes=[])["outcome"] == "impossible"


def test_an_unknown_model_with_sizes_is_placed_and_nothing_is_claimed() -> None:
    answer = ask(service=sized("org/new", 8, tensor=4), nodes=[node()])
    assert (answer["outcome"], answer["product"]) == ("unknown", "MI300X")
    assert (answer["tensorParallel"], answer["dataParallel"]) == (4, 2)
    assert answer["nodes"] == [{"name": "n0", "gpus": 8}]
    assert answer["memory"] is None
    assert answer["maxModelLen"] is None


def test_an_unknown_model_whose_sizes_contradict_is_impossible() -> None:
    answer = ask(service=sized("org/new", 8, tensor=3), nodes=[node()])
    assert answer["outcome"] == "impossible"
    assert "TP 3 = 3 cannot make totalGpus 8" in answer["reasons"][0]
    assert sum(answer["excluded"].values()) == 1


def test_a_config_that_is_given_wins_over_the_name() -> None:
    large = CONFIGS[LLAMA_405B]
    assert ask(service=service(), nodes=[node()], modelConfig=large)["outcome"] == "impossible"
    assert ask(service=service(LLAMA_405B), nodes=[node()], modelConfig=CONFIGS["Qwen/Qwen3-8B"])["outcome"] == "fit"


def test_a_config_of_a_class_that_is_not_known_makes_the_model_unknown() -> None:
    config = CONFIGS["Qwen/Qwen3-8B"] | {"architectures": ["NewForCausalLM"]}
    answer = ask(service=service(), nodes=[node()], modelConfig=config)
    assert answer["outcome"] == "unknown"
    assert "NewForCausalLM is not known here" in answer["reasons"][0]
    assert answer["nodes"] == [{"name": "n0", "gpus": 1}]


def test_the_size_of_the_weight_files_counts() -> None:
    half = ask(service=service(), nodes=[node()], weightsBytes=8_190_735_360)
    assert half["memory"]["weightsBytes"] == 8_190_735_360
    with_config = ask(
        service=service("org/x"), nodes=[node()], modelConfig=CONFIGS["Qwen/Qwen3-8B"], weightsBytes=8_190_735_360
    )
    assert with_config["memory"] == half["memory"]
    wrong = ask(service=service(), nodes=[node()], weightsBytes=5)
    assert wrong["outcome"] == "unknown"
    assert "weight files of 5 bytes are not those of a model that takes" in wrong["reasons"][0]


@pytest.mark.parametrize(
    ("spec", "nodes", "taken"),
    [
        pytest.param({"resources": {"gpu": {"count": 8}}}, 1, [8], id="the second spelling"),
        pytest.param(
            {"resources": {"totalGpus": 16}, "distributed": {"enabled": True, "size": 2}}, 3, [8, 8], id="two nodes"
        ),
        pytest.param(
            {
                "resources": {"totalGpus": 16},
                "distributed": {"enabled": True, "leaderReplicas": 1, "workerReplicas": 1},
            },
            2,
            [8, 8],
            id="leader and worker",
        ),
        pytest.param({"resources": {"totalGpus": 4}, "replicas": 3}, 2, [8, 4], id="three groups"),
    ],
)
def test_each_spelling_takes_its_gpus(spec: Object, nodes: int, taken: list[int]) -> None:
    asked = service("meta-llama/Llama-3.3-70B-Instruct", **spec)
    asked["spec"]["resources"]["autoOptimize"] = True
    answer = ask(service=asked, nodes=[node(name=f"n{number}") for number in range(nodes)])
    assert answer["outcome"] == "fit", answer["reasons"]
    assert sorted((it["gpus"] for it in answer["nodes"]), reverse=True) == taken
    assert sum(answer["excluded"].values()) + len(taken) == nodes


def test_a_source_names_the_model() -> None:
    asked = service("chat")
    asked["spec"]["model"]["source"] = "huggingface://Qwen/Qwen3-8B"
    assert ask(service=asked, nodes=[node()])["outcome"] == "fit"


def test_partitions_count_as_gpus() -> None:
    mode = {"amd.com/gpu.compute-memory-partition": "CPX_NPS4"}
    asked = service("Qwen/Qwen3-8B", resources={"totalGpus": 1, "gpu": {"partition": "cpx_nps4"}})
    asked["spec"]["model"]["maxTokens"] = 8192
    answer = ask(service=asked, nodes=[node(gpus=64, labels=mode)])
    assert (answer["outcome"], answer["product"]) == ("fit", "MI300X-CPX-NPS4"), answer


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("{", "the line is not JSON", id="no JSON"),
        pytest.param("[1]", "the line is no JSON object", id="no object"),
        pytest.param("[" * 100_000, "the line is not JSON", id="deep"),
        pytest.param("{}", "service is missing", id="nothing"),
        pytest.param(json.dumps({"service": {"kind": "Pod"}}), "kind is 'Pod', not InferenceService", id="a pod"),
        pytest.param(json.dumps({"service": {"spec": None}}), "spec is missing", id="no spec"),
        pytest.param(
            json.dumps({"service": service(resources={"totalGpus": 0})}),
            "spec.resources.totalGpus is not accepted: Input should be greater than or equal to 1",
            id="a field out of bounds",
        ),
        pytest.param(
            json.dumps({"service": service(resources={})}), "say how many GPUs one group uses", id="no number of GPUs"
        ),
        pytest.param(json.dumps({"service": service(), "nodes": {}}), "nodes must be a list", id="nodes no list"),
        pytest.param(json.dumps({"service": service(), "nodes": [7]}), "object 1 of the nodes is no Node", id="number"),
        pytest.param(
            json.dumps({"service": service(), "nodes": [{"metadata": {}}]}), "node 1 has no metadata.name", id="no name"
        ),
        pytest.param(
            json.dumps({"service": service(), "nodes": [node(), node()]}), "two nodes have the same name", id="twice"
        ),
        pytest.param(
            json.dumps({"service": service(), "modelConfig": [1]}), "modelConfig must be the content", id="no config"
        ),
        pytest.param(
            json.dumps({"service": service(), "weightsBytes": "5"}), "weightsBytes must be a whole number", id="a text"
        ),
        pytest.param(
            json.dumps({"service": service(), "weightsBytes": -5}), "weightsBytes must be a whole number", id="negative"
        ),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: str, words: str) -> None:
    assert words in refusal(line)


def test_other_lines_are_answered_in_their_order_and_the_code_is_not_zero() -> None:
    good = {"service": service(), "nodes": [node()]}
    text = f"{as_lines([good])}nonsense\n\n{as_lines([good | {'nodes': []}])}"
    done = run("plan", "--batch", "-", stdin=text)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("outcome", "error") for line in found] == ["fit", "error", "unknown"]
    assert (done.returncode, done.stderr) == (2, "")


def test_a_good_batch_ends_with_zero_and_says_the_same_each_time() -> None:
    questions = [{"service": service(gpus=gpus), "nodes": [node(), node(name="n1")]} for gpus in (1, 2, 4, 8, 16)]
    assert answers(questions) == answers(questions)
