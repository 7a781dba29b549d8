"""How the GPUs of one group share a model; where those GPUs are does not matter here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Parallel sizes, in GPUs: tensor x pipeline GPUs hold one copy of the model, data is the number of copies."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert_parallel: bool = False
    """Each expert stays whole on one GPU, instead of a slice of every expert on each."""

    @property
    def copy(self) -> int:
        """GPUs of one copy."""
        return self.tensor * self.pipeline

    @property
    def expert_ranks(self) -> int:
        """GPUs over which the experts of a layer are divided: copies share them (vLLM, with or without
        expert parallelism)."""
        return self.tensor * self.data

    def __str__(self) -> str:
        sizes = f"TP {self.tensor} x PP {self.pipeline} x DP {self.data}"
        return f"{sizes} with expert parallelism" if self.expert_parallel else sizes
