"""`plan --batch`: one answer a line, in order, in the agreed form."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.questions import Json, batch, one, question, run, service

GIB = 1024**3
FIELDS = {
    *("outcome", "product", "tensorParallel", "pipelineParallel", "dataParallel", "expertParallel", "maxModelLen"),
    *("nodes", "memory", "reasons", "excluded", "foreignUseUnknown"),
}
LLAMA_8B, LLAMA_405B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-405B-Instruct"
DEEPSEEK = "deepseek-ai/DeepSeek-V3"


def engine(**arguments: object) -> Json:
    return {"engineArgs": arguments}


def test_an_answer_has_the_agreed_fields_and_numbers() -> None:
    answer = one(service(LLAMA_8B))
    assert answer.keys() == FIELDS
    assert answer | {"reasons": [], "memory": {}} == {
        "outcome": "fit",
        "product": "MI300X",
        "tensorParallel": 1,
        "pipelineParallel": 1,
        "dataParallel": 1,
        "expertParallel": False,
        "maxModelLen": 131072,
        "nodes": [{"name": "mi300x-0", "gpus": 1}],
        "memory": {},
        "reasons": [],
        "excluded": {},
        "foreignUseUnknown": True,
    }
    memory = answer["memory"]
    assert memory["weightsBytes"] == 2 * 8_030_261_248
    assert memory["kvCacheBytesPerToken"] == 131072
    left = memory["budgetBytes"] - memory["weightsBytes"] - memory["overheadBytes"]
    assert memory["maxSequences"] == left // (131072 * 131072)
    assert "1 pod of 1 GPU on mi300x-0." in answer["reasons"]


def test_a_bad_line_is_answered_in_its_place_and_the_others_all_the_same() -> None:
    good = question(service())
    lines = [
        json.dumps(good),
        "{",
        "[]",
        json.dumps({"nodes": []}),
        json.dumps(question(service({"name": "Qwen/Qwen3-8B", "precision": "fp3"}))),
        json.dumps(question(service(), [{"kind": "Node"}])),
        json.dumps(good | {"weightsBytes": -1}),
        json.dumps(good | {"modelConfig": 7}),
        json.dumps(good | {"service": {"metadata": {}}}),
        "",
        json.dumps(good),
    ]
    done = run("plan", "--batch", "-", stdin="\n".join(lines))
    assert done.returncode == 1
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[0] == answers[-1]
    assert answers[0]["outcome"] == "fit"
    errors = [answer["error"] for answer in answers[1:-1]]
    assert errors[0].startswith("the line is not JSON: ")
    assert errors[1:3] == ["the line is no JSON object", "service is missing: give an InferenceService"]
    assert errors[3].startswith("InferenceService demo is not accepted: spec.model.precision: Input should be 'fp16'")
    assert errors[4:] == [
        "nodes[0] is no Node: it has no metadata.name",
        "the size of the weights must be a whole number of bytes, at least 1, not -1",
        "the model's config is no JSON object",
        "the InferenceService has no spec",
    ]


def test_a_file_of_questions_is_read_like_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps(question(service())) + "\n")
    assert json.loads(run("plan", "--batch", file).stdout) == one(service())
    missing = run("plan", "--batch", tmp_path / "none.jsonl")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"kubectl inference: {tmp_path}/none.jsonl cannot be read: No such file or directory\n"


def test_sizes_that_cannot_work_are_refused_with_numbers() -> None:
    too_large, heads, blocks, product = batch(
        [
            question(service({"name": LLAMA_405B, "precision": "bf16"})),
            question(service(LLAMA_8B, 6, vllm=engine(tensor_parallel_size=6))),
            question(service("Qwen/Qwen3-8B", 8, vllm=engine(**{"tensor-parallel-size": 8})), modelConfig=block_fp8()),
            question(service(LLAMA_8B, 4, vllm=engine(tensor_parallel_size=3))),
        ]
    )
    assert {it["outcome"] for it in (too_large, heads, blocks, product)} == {"impossible"}
    assert "MI300X: TP 1 x PP 1 x DP 1 needs 835.5 GiB a GPU, MI300X has 192.0 GiB" in " ".join(too_large["reasons"])
    assert too_large["memory"]["weightsBytes"] > 750 * GIB
    assert too_large["memory"]["maxSequences"] == 0
    assert "32 attention heads cannot be divided by TP 6" in heads["reasons"][0]
    assert "1,472 / TP 8 = 184 is no multiple of 128" in blocks["reasons"][0].replace("MLP width ", "")
    assert "TP 3 = 3 cannot make totalGpus 4" in product["reasons"][0]
    for answer in (too_large, heads, blocks, product):
        assert answer["nodes"] == []
        assert sum(answer["excluded"].values()) == 1


def block_fp8() -> Json:
    """A small Qwen3 with one FP8 scale for each 128 x 128 block, and an MLP that eight GPUs cannot share."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "num_hidden_layers": 4,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 1472,
        "vocab_size": 32000,
        "max_position_embeddings": 8192,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    }


def test_a_config_goes_before_the_catalogue_and_its_weights_before_the_formula() -> None:
    small = block_fp8() | {"intermediate_size": 1536}
    listed, told, weighed, named = batch(
        [
            question(service(LLAMA_405B)),
            question(service(LLAMA_405B), modelConfig=small),
            question(service(LLAMA_405B), modelConfig=small, weightsBytes=64 * GIB),
            question(service("org/never-heard-of"), modelConfig=small),
        ]
    )
    assert [it["outcome"] for it in (listed, told, weighed, named)] == ["impossible", "fit", "fit", "fit"]
    assert told["maxModelLen"] == named["maxModelLen"] == 8192
    assert told["memory"]["weightsBytes"] < GIB
    assert weighed["memory"]["weightsBytes"] == 64 * GIB


def test_a_size_alone_corrects_a_listed_model_and_tells_nothing_of_another() -> None:
    listed, other = batch(
        [question(service(LLAMA_8B), weightsBytes=80 * GIB), question(service("org/other"), weightsBytes=80 * GIB)]
    )
    assert (listed["outcome"], listed["memory"]["weightsBytes"]) == ("fit", 80 * GIB)
    assert (other["outcome"], other["memory"]) == ("unknown", None)


def test_a_config_of_an_unknown_architecture_says_so_and_leaves_the_model_unknown() -> None:
    config = block_fp8() | {"architectures": ["NobodyKnowsForCausalLM"]}
    answer = one(service("org/other"), modelConfig=config)
    assert answer["outcome"] == "unknown"
    assert any(it.startswith("config.json was passed over: ") and "NobodyKnows" in it for it in answer["reasons"])


def test_numbers_that_json_does_not_have_stand_in_some_configs() -> None:
    config = block_fp8() | {"intermediate_size": 1024, "time_step_limit": [0.0, float("inf")]}
    assert one(service("org/other"), modelConfig=config)["outcome"] == "fit"


def test_a_share_of_the_memory_is_planned_as_it_is_started() -> None:
    number, text = batch(question(service(LLAMA_8B, vllm=engine(gpu_memory_utilization=it))) for it in (0.5, "0.5"))
    assert number["memory"]["budgetBytes"] == text["memory"]["budgetBytes"]
    wrong = one(service(LLAMA_8B, vllm=engine(gpu_memory_utilization=1.5)))
    assert wrong["outcome"] == "impossible"
    assert "takes a share above 0 and up to 1" in " ".join(wrong["reasons"])


def test_slices_of_experts_that_cut_the_blocks_of_fp8_scales_are_refused() -> None:
    experts = {
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_experts": 64,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "intermediate_size": 1024,
    }
    asked = service("org/experts", 8, vllm=engine(tensor_parallel_size=8))
    refused = one(asked, modelConfig=block_fp8() | experts)
    assert refused["outcome"] == "impossible"
    assert "leave 96, no multiple of 128" in " ".join(refused["reasons"])
