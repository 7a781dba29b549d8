"""Deployments that were published as running, asked of the console script: known models fit with their own sizes, and
of models that nobody here knows it is never said that they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.questions import Json, batch, nodes, question, service

HERE = Path(__file__).parent
KNOWN: list[Json] = json.loads((HERE.parent / "fit" / "published.json").read_text())
UNKNOWN: list[Json] = json.loads((HERE / "unknown_models.json").read_text())
ANY_PRODUCT = "MI300X"
ARGUMENTS = {
    "maxModelLen": "max_model_len",
    "utilization": "gpu-memory-utilization",
    "kvCacheDtype": "kv_cache_dtype",
    "batchedTokens": "max-num-batched-tokens",
    "expertParallel": "enable_expert_parallel",
}


def asked(row: Json, dashes: bool) -> Json:
    """The row as a user writes it."""
    tensor, pipeline, data = row["sizes"]
    sizes = {"tensor_parallel_size": tensor, "pipeline_parallel_size": pipeline, "data_parallel_size": data}
    arguments = sizes | {ARGUMENTS[key]: row[key] for key in ARGUMENTS if key in row}
    model: dict[str, Any] = {"name": row["model"]} | ({"precision": row["precision"]} if "precision" in row else {})
    stored = row.get("quantization", {}).get("format")
    model |= {"precision": "fp8"} if stored == "fp8" else {}
    arguments |= {"quantization": stored} if stored == "mxfp4" else {}
    if dashes:
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
    group = {"enabled": True, "size": row["nodes"]} if "nodes" in row else {}
    return service(model, tensor * pipeline * data, vllm={"engineArgs": arguments}, distributed=group)


def cases(rows: list[Json]) -> list[tuple[Json, str]]:
    return [(row, product) for row in rows for product in row["gpus"] or [ANY_PRODUCT]]


@pytest.mark.parametrize("dashes", [False, True], ids=["underscores", "dashes"])
def test_every_deployment_of_a_known_model_fits_with_its_own_sizes(dashes: bool) -> None:
    rows = cases(KNOWN)
    answers = batch(question(asked(row, dashes), nodes(1, product)) for row, product in rows)
    found = [
        (it["outcome"], it["product"], it["tensorParallel"], it["pipelineParallel"], it["dataParallel"])
        for it in answers
    ]
    assert found == [("fit", product, *row["sizes"]) for row, product in rows]
    for (row, product), answer in zip(rows, answers, strict=True):
        assert answer["expertParallel"] == row.get("expertParallel", False)
        assert answer["maxModelLen"] == row.get("maxModelLen", answer["maxModelLen"])
        assert answer["nodes"] == [{"name": f"{product.lower()}-0", "gpus": row["sizes"][0] * row["sizes"][2]}]
        memory = answer["memory"]
        sequence = memory["kvCacheBytesPerToken"] * answer["maxModelLen"]
        assert (
            memory["weightsBytes"] + memory["overheadBytes"] + memory["maxSequences"] * sequence
            <= (memory["budgetBytes"])
        )
        assert memory["maxSequences"] >= 1


def test_a_deployment_of_an_unknown_model_is_placed_and_called_unknown() -> None:
    rows = cases(UNKNOWN)
    answers = batch(question(asked(row, False), nodes(row.get("nodes", 1), product)) for row, product in rows)
    assert len(answers) > 100
    for (row, product), answer in zip(rows, answers, strict=True):
        tensor, pipeline, data = row["sizes"]
        assert (answer["outcome"], answer["product"]) == ("unknown", product)
        assert (answer["tensorParallel"], answer["pipelineParallel"], answer["dataParallel"]) == (
            tensor,
            pipeline,
            data,
        )
        assert sum(node["gpus"] for node in answer["nodes"]) == tensor * pipeline * data
        assert len(answer["nodes"]) == row.get("nodes", 1)
        assert answer["memory"] is None
        assert any(f"nothing is known of model {row['model']}" in reason for reason in answer["reasons"])
        assert answer["expertParallel"] == row.get("expertParallel", False)
