"""Deployments that were published as running go through `plan --batch`, all in one process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ask import Object, answers, node, service
from tests.topology.configs_written import CONFIGS

KNOWN = json.loads((Path(__file__).parents[1] / "topology" / "published.json").read_text())
UNKNOWN = json.loads((Path(__file__).parent / "published_unknown.json").read_text())
_FORMATS: dict[str, Object] = {
    "fp8": {"quant_method": "fp8"},
    "mxfp4": {
        "quant_method": "quark",
        "global_quant_config": {"weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}},
    },
    "int4": {"quant_method": "gptq", "bits": 4},
}


def _cases(rows: list[Object]) -> Iterator[tuple[Object, str]]:
    return ((row, product) for row in rows for product in row["gpus"])


def _engine_args(row: Object, dashes: bool) -> Object:
    sizes = dict(zip(("tensor", "pipeline", "data"), row["sizes"], strict=True))
    arguments: Object = {f"{axis}_parallel_size": size for axis, size in sizes.items()}
    arguments |= {"enable_expert_parallel": True} if row.get("expertParallel") else {}
    for name, key in (
        ("kv_cache_dtype", "kvCacheDtype"),
        ("gpu_memory_utilization", "utilization"),
        ("max_num_batched_tokens", "batchedTokens"),
        ("max_model_len", "maxModelLen"),
    ):
        arguments |= {name: row[key]} if key in row else {}
    return {name.replace("_", "-"): value for name, value in arguments.items()} if dashes else arguments


def _question(row: Object, product: str, dashes: bool) -> Object:
    """Eight GPUs a node, and as many nodes as the row says."""
    nodes, (tensor, pipeline, data) = row.get("nodes", 1), row["sizes"]
    asked = service(row["model"], tensor * pipeline * data, vllm={"engineArgs": _engine_args(row, dashes)})
    if nodes > 1:
        asked["spec"]["distributed"] = {"enabled": True, "size": nodes}
    if "precision" in row:
        asked["spec"]["model"]["precision"] = row["precision"]
    question = {"service": asked, "nodes": [node(product, f"n{number}") for number in range(nodes)]}
    return question | ({"modelConfig": _config(row)} if "quantization" in row else {})


def _config(row: Object) -> Object:
    """The model's own config.json, of an edition that was quantised."""
    quantization = row["quantization"]
    written = _FORMATS[quantization["format"]]
    if len(quantization.get("block", ())) == 2:
        written = written | {"weight_block_size": quantization["block"]}
    elif "block" in quantization and quantization["format"] == "int4":
        written = written | {"group_size": quantization["block"][0]}
    return CONFIGS[row["model"]] | {"quantization_config": written}


@cache
def _answered(dashes: bool) -> tuple[dict[str, Any], ...]:
    """All rows in one process: known ones first."""
    return tuple(answers(_question(row, product, dashes) for row, product in (*_cases(KNOWN), *_cases(UNKNOWN))))


def _name(row: Object, product: str) -> str:
    return f"{row['model']}-{'x'.join(map(str, row['sizes']))}-{product}"


@pytest.mark.parametrize("dashes", [False, True], ids=["underscores", "dashes"])
@pytest.mark.parametrize(
    ("number", "row", "product"),
    [pytest.param(n, row, product, id=f"{n}-{_name(row, product)}") for n, (row, product) in enumerate(_cases(KNOWN))],
)
def test_of_a_known_model_its_own_sizes_fit(number: int, row: Object, product: str, dashes: bool) -> None:
    answer = _answered(dashes)[number]
    assert answer["outcome"] == "fit", answer["reasons"]
    assert answer["product"] == product
    assert [answer[f"{axis}Parallel"] for axis in ("tensor", "pipeline", "data")] == row["sizes"]
    assert answer["expertParallel"] == row.get("expertParallel", False)
    tensor, pipeline, data = row["sizes"]
    assert sum(it["gpus"] for it in answer["nodes"]) == tensor * pipeline * data
    memory = answer["memory"]
    assert memory["maxSequences"] >= 1
    assert memory["weightsBytes"] + memory["overheadBytes"] < memory["budgetBytes"]
    if "maxModelLen" in row:
        assert answer["maxModelLen"] == row["maxModelLen"]


@pytest.mark.parametrize(
    ("number", "row", "product"),
    [
        pytest.param(n, row, product, id=f"{n}-{_name(row, product)}")
        for n, (row, product) in enumerate(_cases(UNKNOWN), len(list(_cases(KNOWN))))
    ],
)
def test_of_an_unknown_model_nothing_is_claimed(number: int, row: Object, product: str) -> None:
    answer = _answered(False)[number]
    assert answer["outcome"] == "unknown", answer
    assert [answer[f"{axis}Parallel"] for axis in ("tensor", "pipeline", "data")] == row["sizes"]
    assert len(answer["nodes"]) == row.get("nodes", 1)
    assert answer["memory"] is None
    assert "nothing is known of model" in answer["reasons"][0]


def test_both_lists_are_there() -> None:
    assert len(KNOWN) > 25
    assert len(UNKNOWN) > 60
