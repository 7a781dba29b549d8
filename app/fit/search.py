"""The parallel sizes of one group on one kind of GPU, from the model's facts.

Precedence: sizes the user gave > autoOptimize > the strategy's default, as in the module parallelism. Sizes that follow
from the spec alone are checked: are they legal, and do they fit? Only autoOptimize with neither TP nor PP given is free
to choose. It looks at all sizes that use exactly the GPUs asked for, where TP stays inside a node (with topology-aware:
inside an XGMI island) and a copy fills whole nodes or shares one evenly. What is illegal or does not fit is left out,
and of the rest the module ranking names the best. The order is total: the same request has the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.fit.checks.layout import CERTAIN, LEGALITY, Layout
from app.fit.checks.warnings import WARNINGS
from app.fit.memory.estimate import gib
from app.fit.model import ModelFacts
from app.fit.parallelism import Parallelism, Strategy, divisors, lies_evenly
from app.fit.ranking import costs, why_worse
from app.fit.request import Alternative, Candidate, DoesNotFit, FitRequest, Fits
from app.policy import Chain


def search(model: ModelFacts, request: FitRequest, planned: Parallelism) -> Fits | DoesNotFit:
    """The best sizes, or why there are none; `planned` are those that the spec alone makes."""
    if request.parallelism.leaves_choice:
        return _choose(model, request)
    fixed = replace(planned, expert_parallel=bool(request.engine.expert_parallel))
    return _check(Candidate(model, fixed, request))


def _check(candidate: Candidate) -> Fits | DoesNotFit:
    """The only sizes that the spec leaves: what is not certainly illegal is let through."""
    sizes, request = candidate.parallelism, candidate.request
    if refusal := CERTAIN.evaluate(Layout(candidate.model, sizes)):
        return DoesNotFit(request.gpu, f"{sizes} is not possible: {refusal}")
    if not candidate.memory.fits:
        return DoesNotFit(request.gpu, f"{sizes} {_shortage(candidate)}")
    asked = request.parallelism
    origin = "as engineArgs say" if asked.given.any_given else f"by strategy {asked.strategy}"
    return _fits(candidate, f"{sizes} {origin}: {candidate.memory.explanation}")


def _choose(model: ModelFacts, request: FitRequest) -> Fits | DoesNotFit:
    fitting: list[Candidate] = []
    short: list[Candidate] = []
    illegal: list[Alternative] = []
    for candidate in _candidates(model, request):
        if objection := OBJECTIONS.evaluate(candidate):
            illegal.append(Alternative(candidate.parallelism, objection))
        else:
            (fitting if candidate.memory.fits else short).append(candidate)
    too_large = (Alternative(candidate.parallelism, _shortage(candidate)) for candidate in short)
    refused = (*too_large, *illegal)
    if not fitting:
        return DoesNotFit(request.gpu, _nearest(request, short, illegal), refused)
    best, *others = sorted(fitting, key=costs)
    worse = (Alternative(it.parallelism, f"fits, but {why_worse(it, best)}") for it in others)
    return _fits(best, f"{best.parallelism}: {best.memory.explanation}", (*worse, *refused))


def _candidates(model: ModelFacts, request: FitRequest) -> Iterator[Candidate]:
    """All sizes that use exactly the GPUs asked for, in which TP divides the GPUs of a node."""
    asked = request.parallelism
    world = asked.gpus // asked.prefill_context
    for tensor in divisors(asked.gpus_per_node):
        for pipeline in divisors(world // tensor) if world % tensor == 0 else ():
            data = world // tensor // pipeline
            if asked.given.data in (None, data):
                for sizes in _with_experts(model, request, Parallelism(tensor, pipeline, data)):
                    yield Candidate(model, sizes, request)


def _with_experts(model: ModelFacts, request: FitRequest, sizes: Parallelism) -> Iterator[Parallelism]:
    """As the user said, else sliced; whole experts are tried where slices are illegal."""
    asked = request.engine.expert_parallel
    yield replace(sizes, expert_parallel=True) if asked else sizes
    if asked is None and model.experts and LEGALITY.evaluate(Layout(model, sizes)):
        yield replace(sizes, expert_parallel=True)


def is_illegal(candidate: Candidate) -> str | None:
    return LEGALITY.evaluate(Layout(candidate.model, candidate.parallelism))


def copies_lie_unevenly(candidate: Candidate) -> str | None:
    asked = candidate.request.parallelism
    copy, per_node = candidate.parallelism.copy * asked.prefill_context, asked.gpus_per_node
    return (
        None if lies_evenly(copy, per_node) else f"copies of {copy} GPUs cannot be laid evenly on nodes of {per_node}"
    )


def leaves_island(candidate: Candidate) -> str | None:
    gpu, tensor = candidate.request.gpu, candidate.parallelism.tensor
    if candidate.request.parallelism.strategy is not Strategy.TOPOLOGY_AWARE or tensor <= gpu.island:
        return None
    return f"TP {tensor} is larger than the XGMI island of {gpu.key} ({gpu.island})"


OBJECTIONS: Chain[Candidate, str] = Chain(is_illegal, copies_lie_unevenly, leaves_island)
"""Why sizes are not to be chosen, whether they fit or not."""


def _nearest(request: FitRequest, short: Sequence[Candidate], illegal: Sequence[Alternative]) -> str:
    gpus = request.parallelism.gpus
    if not short:
        first = illegal[0]
        return f"none of the {len(illegal)} layouts of {gpus} GPUs is possible; {first.parallelism}: {first.reason}"
    nearest = min(short, key=lambda it: (it.memory.needed, costs(it)))
    sizes = str(nearest.parallelism)
    tried = f"{sizes}, which needs least of {len(short)} layouts of {gpus} GPUs," if len(short) > 1 else sizes
    return f"{tried} {_shortage(nearest)}"


def _shortage(candidate: Candidate) -> str:
    memory, key = candidate.memory, candidate.request.gpu.key
    return f"needs {gib(memory.needed)} a GPU, {key} has {gib(memory.capacity)}: {memory.explanation}"


def _fits(candidate: Candidate, reason: str, alternatives: tuple[Alternative, ...] = ()) -> Fits:
    given, known = candidate.request.engine.max_model_len, candidate.model.max_position is not None
    return Fits(
        gpu=candidate.request.gpu,
        parallelism=candidate.parallelism,
        memory=candidate.memory,
        max_model_len=given or (candidate.memory.length if known else None),
        reason=reason,
        alternatives=alternatives,
        warnings=WARNINGS.evaluate_all(candidate),
    )
