"""Which of the candidates that are legal and fit is the best: costs to keep low, in this order.

    1  layers that do not wait for the network: copies of a model with experts share them, so they stay on one node
    2  TP inside one XGMI island
    3  copies that could run alone, where experts are shared between copies
    4  the smallest copy: it spans the fewest nodes, and GPUs beyond need go into more copies (DP), not into more TP
    5  the fewest stages

Least communication comes first (1 to 3), then the fewest GPUs wasted (4). Two candidates never cost the same: copy and
stages fix TP, and whole experts are tried only where slices are illegal. vLLM's recipes and AMD's published profiles
follow the same rules: the smallest TP inside a node that fits, PP across nodes, expert parallelism where TP is illegal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from app.fit.request import Candidate


@dataclass(frozen=True)
class Preference:
    """A cost to keep low, and why an alternative that costs more was not taken."""

    cost: Callable[[Candidate], int]
    objection: str


def between_nodes(candidate: Candidate) -> int:
    return int(_shares_experts(candidate) and candidate.request.parallelism.nodes > 1)


def beyond_island(candidate: Candidate) -> int:
    return int(candidate.parallelism.tensor > candidate.request.gpu.island)


def dependent_copies(candidate: Candidate) -> int:
    if not _shares_experts(candidate):
        return 0
    return int(not replace(candidate, parallelism=replace(candidate.parallelism, data=1)).memory.fits)


def gpus_of_a_copy(candidate: Candidate) -> int:
    return candidate.parallelism.copy


def stages_of_a_copy(candidate: Candidate) -> int:
    return candidate.parallelism.pipeline


PREFERENCES: tuple[Preference, ...] = (
    Preference(between_nodes, "its copies share experts between nodes, so every layer would wait for the network"),
    Preference(beyond_island, "its TP reaches beyond the GPUs that XGMI links directly"),
    Preference(dependent_copies, "a copy does not hold the model without the experts of the others"),
    Preference(gpus_of_a_copy, "a copy takes {cost} GPUs instead of {best}"),
    Preference(stages_of_a_copy, "it has {cost} stages instead of {best}"),
)


def costs(candidate: Candidate) -> tuple[int, ...]:
    """To be compared from left to right."""
    return tuple(preference.cost(candidate) for preference in PREFERENCES)


def why_worse(candidate: Candidate, best: Candidate) -> str:
    """The first preference by which the other candidate is better, in words."""
    pairs = zip(costs(candidate), costs(best), PREFERENCES, strict=True)
    cost, least, lost = next((cost, least, lost) for cost, least, lost in pairs if cost > least)
    return lost.objection.format(cost=cost, best=least)


def _shares_experts(candidate: Candidate) -> bool:
    return candidate.model.experts is not None and candidate.parallelism.data > 1
