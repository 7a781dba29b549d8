"""One answer for each kind of GPU: it fits, it is unknown, or it is excluded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.fit.catalog import ACCELERATORS, partitioned
from app.fit.fit import fit_products
from app.fit.memory.estimate import Engine, estimate, least_bytes
from app.fit.memory.precision import Precision
from app.fit.model import ModelFacts, Quantization, to_json
from app.fit.model import parse_facts as parse
from app.fit.parallelism import GivenSizes, Parallelism, ParallelismRequest, Strategy
from app.fit.request import DoesNotFit, FitResult, Fits, Unknown
from app.fit.suggestion import find_suggestion
from tests.fit.facts import accelerator, find_refusal, model

PUBLISHED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "published.json").read_text())
LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"
LLAMA_405B, DEEPSEEK = "meta-llama/Llama-3.1-405B-Instruct", "deepseek-ai/DeepSeek-R1"
GPT_OSS, MISTRAL = "openai/gpt-oss-20b", "mistralai/Mistral-Large-Instruct-2407"


def demand(gpus: int, nodes: int = 1, auto: bool = True, sizes: GivenSizes | None = None) -> ParallelismRequest:
    return ParallelismRequest(gpus, nodes, Strategy.DYNAMIC, auto, sizes or GivenSizes())


def fit(facts: ModelFacts | None, product: str, asked: ParallelismRequest, **needs: object) -> FitResult:
    (answer,) = fit_products(facts, asked, Engine(**needs), [accelerator(product)])  # type: ignore[arg-type]
    return answer


def fitting(answer: FitResult) -> Fits:
    assert isinstance(answer, Fits), answer
    return answer


def excluded(answer: FitResult) -> str:
    assert isinstance(answer, DoesNotFit), answer
    return answer.reason


def published_facts(row: dict[str, Any]) -> ModelFacts:
    """The catalogue's model, with the quantisation of the checkpoint that was published."""
    facts = parse(to_json(model(row["model"])) | {"quantization": row["quantization"]} if "quantization" in row else {})
    return facts or model(row["model"])


@pytest.mark.parametrize(
    ("row", "product"),
    [
        pytest.param(row, product, id=f"{row['model']}-{'x'.join(map(str, row['sizes']))}-{product}-{number}")
        for number, row in enumerate(PUBLISHED)
        for product in row["gpus"]
    ],
)
def test_what_was_published_as_running_is_accepted(row: dict[str, Any], product: str) -> None:
    tensor, pipeline, data = row["sizes"]
    facts = published_facts(row)
    answer = fit(
        facts,
        product,
        demand(tensor * pipeline * data, auto=False, sizes=GivenSizes(tensor, pipeline, data)),
        precision=Precision(row["precision"]) if "precision" in row else None,
        max_model_len=row.get("maxModelLen"),
        kv_cache_dtype=row.get("kvCacheDtype", "auto"),
        gpu_memory_utilization=row.get("utilization", 0.92),
        max_num_batched_tokens=row.get("batchedTokens"),
        expert_parallel=row.get("expertParallel"),
    )
    assert fitting(answer).memory.fits
    assert (facts.quantization is not None) == ("precision" not in row)
    layout = Parallelism(tensor, pipeline, data, row.get("expertParallel", False))
    assert find_refusal(facts, layout) is None


def test_every_product_gets_one_answer_in_the_order_asked() -> None:
    answers = fit_products(model(LLAMA_70B), demand(8), Engine(), ACCELERATORS)
    assert [answer.gpu for answer in answers] == list(ACCELERATORS)
    assert {type(answer) for answer in answers} == {Fits}
    few = fit_products(model(LLAMA_70B), demand(1), Engine(), ACCELERATORS)
    assert [answer.gpu.key for answer in few if isinstance(answer, Fits)] == [
        *("MI300X", "MI308X", "MI325X", "MI350X", "MI355X")
    ]


def test_an_unknown_model_is_neither_small_nor_impossible() -> None:
    answer = fit(None, "MI210", demand(8))
    assert isinstance(answer, Unknown)
    assert (answer.parallelism.tensor, answer.parallelism.pipeline, answer.parallelism.data) == (8, 1, 1)
    assert answer.reason == (
        "TP 8 x PP 1 x DP 1 on 1 node with 8 GPUs each, by the spec alone: nothing is known of the model, "
        "so memory and legality were not checked"
    )


def test_an_unknown_model_is_still_excluded_by_what_needs_no_facts() -> None:
    assert "cannot be split evenly" in excluded(fit(None, "MI300X", demand(5, 2)))
    assert "no FP8 units" in excluded(fit(None, "MI210", demand(8), precision=Precision.FP8))


@pytest.mark.parametrize(
    ("facts", "product", "needs", "reason"),
    [
        pytest.param(
            model(LLAMA_8B),
            "MI300X",
            {"gpu_memory_utilization": 0.0},
            "gpu_memory_utilization must be above 0 and at most 1, not 0.0",
            id="none of the memory",
        ),
        pytest.param(
            model(LLAMA_8B),
            "MI300X",
            {"gpu_memory_utilization": float("nan")},
            "gpu_memory_utilization must be above 0 and at most 1, not nan",
            id="a share that is no number",
        ),
        pytest.param(
            model(DEEPSEEK), "MI210", {}, "the weights are fp8, and MI210 (gfx90a) has no FP8 units", id="fp8 files"
        ),
        pytest.param(
            model(LLAMA_8B),
            "W7900",
            {"precision": Precision.FP8},
            "the weights are fp8, and W7900 (gfx1100) has no FP8 units",
            id="fp8 while loading",
        ),
        pytest.param(
            model(GPT_OSS),
            "MI355X",
            {"precision": Precision.FP8},
            "precision fp8 contradicts the checkpoint, which is quantised to mxfp4 already",
            id="two quantisations",
        ),
    ],
)
def test_a_product_is_excluded_for(facts: ModelFacts, product: str, needs: dict[str, Any], reason: str) -> None:
    assert excluded(fit(facts, product, demand(8), **needs)) == reason


def test_an_architecture_that_the_image_lacks_is_excluded_before_all_else() -> None:
    facts, products = model(DEEPSEEK), [accelerator("MI210"), accelerator("MI300X")]
    first, second = fit_products(facts, demand(8), Engine(architectures=("gfx950", "gfx942")), products)
    assert excluded(first) == "gfx90a is not among the architectures of the image: gfx942, gfx950"
    assert isinstance(second, Fits)


def test_what_does_not_fit_is_excluded_with_numbers_and_alternatives() -> None:
    answer = fit(model(LLAMA_70B), "MI210", demand(2))
    assert isinstance(answer, DoesNotFit)
    assert "needs 77.2 GiB a GPU, MI210 has 63.9 GiB" in answer.reason
    assert {item.parallelism for item in answer.alternatives} == {
        Parallelism(2),
        Parallelism(1, 2),
        Parallelism(1, 1, 2),
    }


@pytest.mark.parametrize(
    ("name", "needs", "length"),
    [
        pytest.param(LLAMA_8B, {"max_model_len": 5000}, 5000, id="as given"),
        pytest.param(LLAMA_8B, {}, 131_072, id="chosen"),
        pytest.param(MISTRAL, {}, None, id="left to the engine where the model's own maximum is not known"),
        pytest.param(MISTRAL, {"max_model_len": 5000}, 5000, id="as given, whatever the maximum"),
    ],
)
def test_the_length_to_set_is(name: str, needs: dict[str, Any], length: int | None) -> None:
    assert fitting(fit(model(name), "MI300X", demand(8), **needs)).max_model_len == length


@pytest.mark.parametrize(
    ("facts", "product", "asked", "needs", "note"),
    [
        pytest.param(
            model(GPT_OSS),
            "MI300X",
            demand(1),
            {},
            "MI300X has no MX units: mxfp4 weights are converted while they are used",
            id="mx formats where they are not native",
        ),
        pytest.param(
            model(LLAMA_8B),
            "MI210",
            demand(1),
            {"kv_cache_dtype": "fp8"},
            "MI210 has no FP8 units: the fp8 KV cache saves memory, not time",
            id="an fp8 cache where it is not native",
        ),
        pytest.param(
            model(LLAMA_8B),
            "MI300X",
            demand(1),
            {"precision": Precision.INT4},
            "the checkpoint is not quantised, so precision int4 has no effect: its weights take 16 bits",
            id="int4 of a checkpoint that is not",
        ),
        pytest.param(
            model("Qwen/Qwen3-8B"),
            "MI300X",
            demand(1),
            {"max_model_len": 65_536},
            "65,536 tokens are more than the model's own 40,960: vLLM refuses without an override",
            id="longer than the model",
        ),
        pytest.param(
            model(MISTRAL),
            "MI300X",
            demand(4),
            {},
            "the model's own maximum is not known: it was planned for 8,192 tokens",
            id="a maximum that is not known",
        ),
        pytest.param(
            replace(model(GPT_OSS), quantization=Quantization("fp8", 8, (128, 128), experts_only=True)),
            "MI300X",
            demand(2, sizes=GivenSizes(tensor=2)),
            {},
            "it may be refused: experts of width 2,880 over TP x DP = 2 GPUs leave 1,440, no multiple of 128, the "
            "block that shares an FP8 scale; expert parallelism keeps them whole",
            id="blocks that were let through",
        ),
        pytest.param(
            model(LLAMA_8B),
            "MI210",
            demand(4, sizes=GivenSizes(tensor=4)),
            {},
            "TP 4 is larger than the XGMI island of MI210 (1): some links are slow",
            id="TP beyond an island",
        ),
        pytest.param(
            model(LLAMA_8B),
            "MI300X",
            demand(4, 2, sizes=GivenSizes(tensor=4)),
            {},
            "TP 4 crosses nodes of 2 GPUs: every layer waits for the network",
            id="TP across nodes",
        ),
    ],
)
def test_one_note_is_made_of(
    facts: ModelFacts, product: str, asked: ParallelismRequest, needs: dict[str, Any], note: str
) -> None:
    assert fitting(fit(facts, product, asked, **needs)).warnings == (note,)


def test_a_share_of_next_to_nothing_is_excluded_with_numbers() -> None:
    assert "exceed the 0.0 GiB that are usable" in excluded(
        fit(model(LLAMA_8B), "MI300X", demand(1), gpu_memory_utilization=1e-300)
    )


def test_a_sequence_of_any_length_has_an_answer() -> None:
    assert "one sequence of 1" in excluded(fit(model(LLAMA_8B), "MI300X", demand(1), max_model_len=10**15))


def test_nothing_is_noted_of_the_plain_case() -> None:
    assert fitting(fit(model(LLAMA_8B), "MI355X", demand(1))).warnings == ()
    assert fitting(fit(model(GPT_OSS), "MI355X", demand(1), kv_cache_dtype="fp8")).warnings == ()


def test_a_partition_holds_what_fits_in_its_share() -> None:
    part = partitioned(accelerator("MI300X"), "cpx_nps4")
    assert part is not None
    small, large = (fit_products(model(name), demand(1), Engine(), [part])[0] for name in (LLAMA_8B, "microsoft/phi-4"))
    assert fitting(small).memory.capacity == 206_141_652_992 // 8
    assert "MI300X-CPX-NPS4 has 24.0 GiB" in excluded(large)


@pytest.mark.parametrize(
    ("name", "asked", "products", "gpus", "nodes", "words"),
    [
        pytest.param(LLAMA_405B, demand(1), ["MI300X"], 5, 1, "5 MI300X GPUs (1 node with 5)", id="more on one node"),
        pytest.param(
            LLAMA_405B, demand(2, 2), ["MI300X"], 6, 2, "6 MI300X GPUs (2 nodes with 3 each)", id="same nodes"
        ),
        pytest.param(DEEPSEEK, demand(1), ["MI300A"], 8, 2, "8 MI300A GPUs (2 nodes with 4 each)", id="small nodes"),
        pytest.param(LLAMA_405B, demand(1), ["MI210"], 16, 2, "16 MI210 GPUs (2 nodes with 8 each)", id="more nodes"),
        pytest.param(LLAMA_405B, demand(1), ["MI210", "MI355X"], 4, 1, "4 MI355X GPUs", id="the best product"),
        pytest.param(LLAMA_70B, demand(1), ["MI300X", "MI355X"], 1, 1, "1 MI355X GPU (1 node with 1)", id="most room"),
    ],
)
def test_what_would_work_is(
    name: str, asked: ParallelismRequest, products: list[str], gpus: int, nodes: int, words: str
) -> None:
    found = find_suggestion(model(name), asked, Engine(), [accelerator(product) for product in products])
    assert found is not None
    assert (found.parallelism.gpus, found.parallelism.nodes) == (gpus, nodes)
    assert str(found).startswith(f"it would fit on {words}")
    assert str(found).endswith(found.fit.reason)


def test_what_would_work_may_be_to_let_sizes_be_chosen() -> None:
    asked = demand(8, auto=False, sizes=GivenSizes(tensor=2))
    found = find_suggestion(model(LLAMA_70B), asked, Engine(), [accelerator("MI210")])
    assert found is not None
    assert found.parallelism == demand(8)
    assert "with autoOptimize" in str(found)


def test_the_product_with_room_for_most_tokens_counts_all_copies() -> None:
    one_copy = replace(accelerator("MI300A"), key="MI300A-larger", nominal_gib=140)
    two_copies = accelerator("MI325X")
    found = find_suggestion(model(LLAMA_70B), demand(2), Engine(), [one_copy, two_copies])
    single, double = fit_products(model(LLAMA_70B), demand(2), Engine(), [one_copy, two_copies])
    assert fitting(double).memory.tokens < fitting(single).memory.tokens < 2 * fitting(double).memory.tokens
    assert found is not None
    assert found.fit == double


def test_static_is_left_where_one_gpu_a_node_cannot_hold_it() -> None:
    asked = ParallelismRequest(1, 1, Strategy.STATIC, False, GivenSizes())
    found = find_suggestion(model(LLAMA_70B), asked, Engine(), [accelerator("MI300A")])
    assert found is not None
    assert (found.parallelism.gpus, found.parallelism.nodes, found.parallelism.strategy) == (2, 1, Strategy.DYNAMIC)


def test_nothing_would_work_for_a_sequence_that_no_group_can_hold() -> None:
    assert find_suggestion(model(LLAMA_405B), demand(1), Engine(max_model_len=10**9), ACCELERATORS) is None


def test_what_all_gpus_need_together_is_no_more_than_any_layout_takes() -> None:
    needs = Engine(max_model_len=100_000)
    for name in (LLAMA_70B, LLAMA_405B):
        least = least_bytes(model(name), needs)
        for tensor, pipeline in ((1, 1), (8, 1), (8, 2), (2, 4)):
            memory = estimate(model(name), accelerator("MI300X"), Parallelism(tensor, pipeline), needs)
            assert least <= tensor * pipeline * (memory.weights + memory.kv_per_sequence)
