"""The layout of one group: what the spec fixes is checked, what it leaves open is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.fit.fit import fit
from app.fit.memory.estimate import Engine
from app.fit.model import Quantization
from app.fit.parallelism import GivenSizes, Parallelism, ParallelismRequest, Strategy
from app.fit.ranking import PREFERENCES
from app.fit.request import DoesNotFit, FitRequest, FitResult, Fits
from tests.fit.facts import accelerator, model

LLAMA_70B, LLAMA_405B = "meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-405B-Instruct"
QWEN_235B, DEEPSEEK = "Qwen/Qwen3-235B-A22B", "deepseek-ai/DeepSeek-R1"
TOPOLOGY = Strategy.TOPOLOGY_AWARE


def demand(
    gpus: int, nodes: int = 1, strategy: Strategy = Strategy.DYNAMIC, auto: bool = True, sizes: GivenSizes | None = None
) -> ParallelismRequest:
    return ParallelismRequest(gpus, nodes, strategy, auto, sizes or GivenSizes())


def ask(name: str, product: str, asked: ParallelismRequest, **needs: object) -> FitResult:
    return fit(FitRequest(model(name), accelerator(product), asked, Engine(**needs)))  # type: ignore[arg-type]


def chosen(answer: FitResult) -> Fits:
    assert isinstance(answer, Fits), answer
    return answer


def refused(answer: FitResult) -> DoesNotFit:
    assert isinstance(answer, DoesNotFit), answer
    return answer


@pytest.mark.parametrize(
    ("name", "product", "asked", "layout"),
    [
        pytest.param(LLAMA_70B, "MI300X", demand(8), Parallelism(1, 1, 8), id="copies rather than needless TP"),
        pytest.param(LLAMA_70B, "MI300A", demand(8), Parallelism(2, 1, 4), id="the smallest TP that fits"),
        pytest.param(LLAMA_405B, "MI300X", demand(8), Parallelism(8), id="all GPUs of a node for one copy"),
        pytest.param(LLAMA_405B, "MI300X", demand(16, 2), Parallelism(8, 1, 2), id="a copy on each node"),
        pytest.param(LLAMA_405B, "MI300X", demand(8, 2), Parallelism(4, 2), id="stages between nodes"),
        pytest.param(LLAMA_70B, "MI210", demand(8), Parallelism(1, 4, 2), id="stages where GPUs are not linked"),
        pytest.param(LLAMA_70B, "MI250X", demand(8), Parallelism(2, 2, 2), id="TP inside a card, stages between cards"),
        pytest.param("microsoft/phi-4", "MI300X", demand(4), Parallelism(1, 1, 4), id="heads that forbid TP 4"),
        pytest.param(LLAMA_70B, "MI300X", demand(6), Parallelism(1, 1, 6), id="six GPUs"),
        pytest.param(
            LLAMA_405B, "MI355X", demand(6), Parallelism(2, 3), id="six GPUs where TP 6 is illegal and four are too few"
        ),
        pytest.param(QWEN_235B, "MI300X", demand(8), Parallelism(4, 1, 2), id="copies that could run alone"),
        pytest.param(DEEPSEEK, "MI300X", demand(16, 2), Parallelism(8, 2), id="experts stay on one node"),
        pytest.param(DEEPSEEK, "MI300A", demand(8, 2), Parallelism(4, 2), id="an island of four on each node"),
        pytest.param(
            LLAMA_70B, "MI300X", demand(8, sizes=GivenSizes(data=2)), Parallelism(4, 1, 2), id="DP given, TP chosen"
        ),
        pytest.param(
            LLAMA_70B, "MI300X", demand(8, sizes=GivenSizes(tensor=4)), Parallelism(4, 1, 2), id="TP given, DP the rest"
        ),
        pytest.param(
            LLAMA_70B,
            "MI300X",
            demand(8, sizes=GivenSizes(pipeline=4)),
            Parallelism(1, 4, 2),
            id="PP given, DP the rest",
        ),
        pytest.param(
            LLAMA_70B,
            "MI300X",
            demand(8, sizes=GivenSizes(prefill_context=2)),
            Parallelism(1, 1, 4),
            id="prefill context given",
        ),
        pytest.param(
            LLAMA_70B, "MI300X", demand(2, 2, Strategy.STATIC), Parallelism(1, 2), id="static is one GPU a node"
        ),
        pytest.param(LLAMA_70B, "MI300X", demand(8, auto=False), Parallelism(1, 8), id="dynamic is one pipeline"),
        pytest.param(
            LLAMA_70B, "MI250X", demand(8, 1, TOPOLOGY), Parallelism(2, 2, 2), id="topology-aware, the same here"
        ),
    ],
)
def test_the_layout_is(name: str, product: str, asked: ParallelismRequest, layout: Parallelism) -> None:
    choice = chosen(ask(name, product, asked))
    assert choice.parallelism == layout
    sizes = choice.parallelism
    assert sizes.copy * sizes.data * asked.prefill_context == asked.gpus
    assert choice.memory.fits


def test_whole_experts_are_taken_where_slices_are_illegal() -> None:
    facts = replace(model(QWEN_235B), quantization=Quantization("fp8", 8, (128, 128)))
    choice = chosen(fit(FitRequest(facts, accelerator("MI300X"), demand(8), Engine())))
    assert choice.parallelism == Parallelism(2, 1, 4, expert_parallel=True)
    reasons = {item.parallelism: item.reason for item in choice.alternatives}
    assert "leave 192, no multiple of 128" in reasons[Parallelism(2, 1, 4)]


def test_what_the_user_says_of_experts_is_kept() -> None:
    facts = replace(model(QWEN_235B), quantization=Quantization("fp8", 8, (128, 128)))
    sliced = chosen(fit(FitRequest(facts, accelerator("MI300X"), demand(8), Engine(expert_parallel=False))))
    whole = chosen(fit(FitRequest(model(QWEN_235B), accelerator("MI300X"), demand(8), Engine(expert_parallel=True))))
    assert sliced.parallelism == Parallelism(1, 2, 4)
    assert whole.parallelism == Parallelism(4, 1, 2, expert_parallel=True)
    assert all(item.parallelism.expert_parallel for item in whole.alternatives)


def test_tp_beyond_an_island_is_taken_only_where_stages_are_not_possible() -> None:
    facts = replace(model(LLAMA_70B), architecture="Zamba2ForCausalLM")
    dynamic = FitRequest(facts, accelerator("MI250X"), demand(8), Engine())
    assert chosen(fit(dynamic)).parallelism == Parallelism(4, 1, 2)
    strict = fit(replace(dynamic, parallelism=demand(8, strategy=TOPOLOGY)))
    reasons = {item.parallelism: item.reason for item in refused(strict).alternatives}
    assert reasons[Parallelism(4, 1, 2)] == "TP 4 is larger than the XGMI island of MI250X (2)"


def test_tp_across_nodes_is_taken_only_when_the_user_asks() -> None:
    asked = chosen(ask(LLAMA_70B, "MI300X", demand(4, 2, sizes=GivenSizes(tensor=4))))
    free = chosen(ask(LLAMA_70B, "MI300X", demand(4, 2)))
    assert asked.parallelism == Parallelism(4)
    assert max(layout.tensor for layout in (free.parallelism, *(item.parallelism for item in free.alternatives))) == 2


def test_copies_are_laid_evenly_on_nodes() -> None:
    """24 GPUs on nodes of six: a copy of four would share a node unevenly, so two GPUs of each do not fill it."""
    choice = chosen(ask(LLAMA_405B, "MI355X", demand(24, 4)))
    assert choice.parallelism == Parallelism(2, 3, 4)
    reasons = {item.parallelism: item.reason for item in choice.alternatives}
    assert reasons[Parallelism(2, 2, 6)] == "copies of 4 GPUs cannot be laid evenly on nodes of 6"


def test_gpus_that_share_the_context_of_a_prompt_belong_to_the_copy() -> None:
    choice = chosen(ask(LLAMA_70B, "MI300X", demand(12, 2, sizes=GivenSizes(prefill_context=2))))
    reasons = {item.parallelism: item.reason for item in choice.alternatives}
    assert reasons[Parallelism(1, 2, 3)] == "copies of 4 GPUs cannot be laid evenly on nodes of 6"


def test_rejected_layouts_say_why() -> None:
    reasons = {item.parallelism: item.reason for item in chosen(ask(LLAMA_70B, "MI300A", demand(4))).alternatives}
    assert reasons == {
        Parallelism(4): "fits, but a copy takes 4 GPUs instead of 2",
        Parallelism(2, 2): "fits, but a copy takes 4 GPUs instead of 2",
        Parallelism(1, 4): "fits, but a copy takes 4 GPUs instead of 2",
        Parallelism(1, 2, 2): "fits, but it has 2 stages instead of 1",
        Parallelism(
            1, 1, 4
        ): "needs 151.1 GiB a GPU, MI300A has 127.9 GiB: weights 131.4 GiB + overhead 5.1 GiB exceed "
        "the 117.7 GiB that are usable of 127.9 GiB",
    }


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Parallelism(8, 1, 2), "its copies share experts between nodes, so every layer would wait for the network"),
        (Parallelism(4, 4), "it has 4 stages instead of 2"),
    ],
)
def test_over_two_nodes_a_model_with_experts_rejects(layout: Parallelism, words: str) -> None:
    reasons = {item.parallelism: item.reason for item in chosen(ask(DEEPSEEK, "MI300X", demand(16, 2))).alternatives}
    assert reasons[layout] == f"fits, but {words}"


def test_a_copy_that_needs_the_experts_of_others_comes_after_one_that_does_not() -> None:
    reasons = {item.parallelism: item.reason for item in chosen(ask(DEEPSEEK, "MI300X", demand(8))).alternatives}
    assert reasons[Parallelism(1, 1, 8)] == "fits, but a copy does not hold the model without the experts of the others"


def test_the_choice_says_what_it_is_and_why_it_fits() -> None:
    free = chosen(ask(LLAMA_405B, "MI300X", demand(8)))
    given = chosen(ask(LLAMA_405B, "MI300X", demand(8, sizes=GivenSizes(tensor=8))))
    default = chosen(ask(LLAMA_405B, "MI300X", demand(8, auto=False)))
    assert free.reason == f"TP 8 x PP 1 x DP 1: {free.memory.explanation}"
    assert given.reason == f"TP 8 x PP 1 x DP 1 as engineArgs say: {given.memory.explanation}"
    assert default.reason == f"TP 1 x PP 8 x DP 1 by strategy dynamic: {default.memory.explanation}"
    assert not given.alternatives


@pytest.mark.parametrize(
    ("name", "product", "asked", "words"),
    [
        pytest.param(
            LLAMA_405B,
            "MI210",
            demand(4),
            "TP 2 x PP 2 x DP 1, which needs least of 6 layouts of 4 GPUs, needs 211.2 GiB a GPU, MI210 has 63.9 GiB",
            id="the nearest of several",
        ),
        pytest.param(
            LLAMA_70B,
            "MI210",
            demand(1),
            "TP 1 x PP 1 x DP 1 needs 150.0 GiB a GPU, MI210 has 63.9 GiB: weights 131.4 GiB",
            id="the only one",
        ),
        pytest.param(
            LLAMA_70B,
            "MI300X",
            demand(3, sizes=GivenSizes(tensor=3)),
            "TP 3 x PP 1 x DP 1 is not possible: 64 attention heads cannot be divided by TP 3",
            id="an illegal size that was given",
        ),
        pytest.param(
            LLAMA_70B,
            "MI210",
            demand(8, sizes=GivenSizes(tensor=2)),
            "TP 2 x PP 1 x DP 4 needs 77.2 GiB a GPU, MI210 has 63.9 GiB",
            id="sizes that were given do not fit, others would",
        ),
        pytest.param(
            LLAMA_70B, "MI300X", demand(96, auto=False), "more stages than the model has layers (80)", id="PP = G"
        ),
        pytest.param(LLAMA_70B, "MI300X", demand(5, 2), "cannot be split evenly over 2 nodes", id="a contradiction"),
    ],
)
def test_nothing_is_chosen_because(name: str, product: str, asked: ParallelismRequest, words: str) -> None:
    assert words in refused(ask(name, product, asked)).reason


def test_nothing_is_chosen_where_all_is_illegal() -> None:
    answer = refused(ask(LLAMA_70B, "MI300X", demand(8), expert_parallel=True))
    assert answer.reason.startswith("none of the 10 layouts of 8 GPUs is possible; TP 1 x PP 1 x DP 8 with expert")
    assert len(answer.alternatives) == 10


def test_a_size_that_cuts_the_blocks_of_experts_is_refused_when_given_and_never_chosen() -> None:
    facts = replace(model(QWEN_235B), quantization=Quantization("fp8", 8, (128, 128)))
    request = FitRequest(facts, accelerator("MI300X"), demand(8, sizes=GivenSizes(tensor=8)), Engine())
    refused = fit(request)
    assert isinstance(refused, DoesNotFit)
    assert "leave 192, no multiple of 128" in refused.reason
    assert "expert parallelism keeps them whole" in refused.reason
    assert chosen(fit(replace(request, engine=Engine(expert_parallel=True)))).parallelism == Parallelism(
        8, expert_parallel=True
    )
    free = chosen(fit(replace(request, parallelism=demand(8), engine=Engine(expert_parallel=False))))
    assert free.parallelism.expert_ranks == 4


def test_blocks_that_no_size_would_divide_do_not_stop_the_only_layout() -> None:
    facts = replace(model("openai/gpt-oss-20b"), quantization=Quantization("fp8", 8, (128, 128), experts_only=True))
    fixed = FitRequest(facts, accelerator("MI300X"), demand(2, auto=False), Engine())
    assert chosen(fit(fixed)).parallelism == Parallelism(1, 2)


def test_preferences_stand_in_this_order() -> None:
    assert [preference.cost.__name__ for preference in PREFERENCES] == [
        "between_nodes",
        "beyond_island",
        "dependent_copies",
        "gpus_of_a_copy",
        "stages_of_a_copy",
    ]
