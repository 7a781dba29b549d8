"""The layout of one group on one kind of GPU, from the model's facts.

Precedence: sizes the user gave > autoOptimize > the strategy's default, as in the module parallelism. Sizes that follow
from the spec alone are checked: are they legal, and do they fit? Only autoOptimize with neither TP nor PP given is free
to choose. It looks at every layout of exactly the GPUs asked for in which TP stays inside a node (with topology-aware:
inside an XGMI island) and a copy fills whole nodes or shares one evenly. What is illegal or does not fit is left out,
and of the rest the module preferences names the best. The order is total: the same question has the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.fit.layout import Layout
from app.fit.legality import find_obstacle
from app.fit.memory import Memory, gib
from app.fit.parallelism import Impossible, Shape, Strategy, divisors, lies_evenly, plan_shape
from app.fit.preferences import costs, why_worse
from app.fit.question import Choice, Question, Rejected, Unfit


def choose(question: Question) -> Choice | Unfit:
    """The layout, or why there is none. The same question always has the same answer."""
    shape = plan_shape(question.demand)
    if isinstance(shape, Impossible):
        return Unfit(shape.message)
    return _choose_freely(question) if question.is_free else _check(question, shape)


def _check(question: Question, shape: Shape) -> Choice | Unfit:
    """The one layout that the spec fixes: there is no other, so what is not certainly illegal is let through."""
    layout = Layout(shape.tensor, shape.pipeline, shape.data, bool(question.needs.expert_parallel))
    if obstacle := find_obstacle(question.model, layout, tolerant=True):
        return Unfit(f"{layout} is not possible: {obstacle.message}")
    memory = question.memory(layout)
    if not memory.fits:
        return Unfit(f"{layout} {_shortage(question, memory)}")
    origin = "as engineArgs say" if question.demand.given.any_given else f"by strategy {question.demand.strategy}"
    return Choice(shape, layout.expert_parallel, memory, f"{layout} {origin}: {memory.explanation}")


def _choose_freely(question: Question) -> Choice | Unfit:
    fitting: list[tuple[Layout, Memory]] = []
    short: list[tuple[Layout, Memory]] = []
    illegal: list[Rejected] = []
    for layout in _layouts(question):
        if reason := _objection(question, layout):
            illegal.append(Rejected(layout, reason))
        else:
            memory = question.memory(layout)
            (fitting if memory.fits else short).append((layout, memory))
    rejected = (*_too_large(question, short), *illegal)
    if not fitting:
        return Unfit(_nearest(question, short, illegal), rejected)
    (best, memory), *others = sorted(fitting, key=lambda pair: costs(question, pair[0]))
    worse = tuple(Rejected(layout, f"fits, but {why_worse(question, layout, best)}") for layout, _ in others)
    nodes, per_node = question.demand.nodes, question.gpus_per_node
    shape = Shape(best.tensor, best.pipeline, best.data, nodes, per_node)
    return Choice(shape, best.expert_parallel, memory, f"{best}: {memory.explanation}", (*worse, *rejected))


def _layouts(question: Question) -> Iterator[Layout]:
    """Every layout of exactly the GPUs asked for, in which TP divides the GPUs of a node."""
    given = question.demand.given
    world = question.demand.gpus // question.demand.prefill_context
    for tensor in divisors(question.gpus_per_node):
        for pipeline in divisors(world // tensor) if world % tensor == 0 else ():
            data = world // tensor // pipeline
            if given.data in (None, data):
                yield from _with_experts(question, Layout(tensor, pipeline, data))


def _with_experts(question: Question, layout: Layout) -> Iterator[Layout]:
    """As the user said, else sliced; whole experts are tried where slices are illegal."""
    asked = question.needs.expert_parallel
    yield replace(layout, expert_parallel=bool(asked))
    if asked is None and question.model.experts and find_obstacle(question.model, layout):
        yield replace(layout, expert_parallel=True)


def _objection(question: Question, layout: Layout) -> str:
    """Why a layout is not to be chosen, whether it fits or not."""
    if obstacle := find_obstacle(question.model, layout):
        return obstacle.message
    copy, per_node = layout.copy * question.demand.prefill_context, question.gpus_per_node
    if not lies_evenly(copy, per_node):
        return f"copies of {copy} GPUs cannot be laid evenly on nodes of {per_node}"
    island = question.accelerator.island
    if question.demand.strategy is Strategy.TOPOLOGY_AWARE and layout.tensor > island:
        return f"TP {layout.tensor} is larger than the XGMI island of {question.accelerator.key} ({island})"
    return ""


def _too_large(question: Question, short: Sequence[tuple[Layout, Memory]]) -> Iterator[Rejected]:
    return (Rejected(layout, _shortage(question, memory)) for layout, memory in short)


def _nearest(question: Question, short: Sequence[tuple[Layout, Memory]], illegal: Sequence[Rejected]) -> str:
    gpus = question.demand.gpus
    if not short:
        first = illegal[0]
        return f"none of the {len(illegal)} layouts of {gpus} GPUs is possible; {first.layout}: {first.reason}"
    layout, memory = min(short, key=lambda pair: (pair[1].needed, costs(question, pair[0])))
    tried = f"{layout}, which needs least of {len(short)} layouts of {gpus} GPUs," if len(short) > 1 else str(layout)
    return f"{tried} {_shortage(question, memory)}"


def _shortage(question: Question, memory: Memory) -> str:
    key = question.accelerator.key
    return f"needs {gib(memory.needed)} a GPU, {key} has {gib(memory.capacity)}: {memory.explanation}"
