"""What is known without looking: AMD's GPUs (accelerators.json) and published models (models.json).

GPUs are described by memory, architecture, links, number formats and partitions.

Units: memory in bytes. Where no public log shows what the driver reports, it is taken as the nominal size less 64 MiB
(MI300X reports 16 MiB less). An *island* is the number of GPUs that are all linked to one another by XGMI:

    MI300X, MI325X, MI350X, MI355X    8    full mesh of the eight modules on a board; MI308X is taken to be the same
    MI300A                            4    full mesh of a node's four
    MI250X                            2    the two dies of a card; each die is one GPU, and cards are no full mesh
    others                            1    PCIe, or bridges that are optional

A *partition* is a share of one GPU that appears as a GPU of its own: SPX 1, DPX 2, TPX 3, QPX 4, CPX one a compute die.
Partitions share the memory evenly, in every NPS mode. Their island is the GPU they are cut from: inside it they talk
over the package, while all partitions of a GPU share that GPU's XGMI links to others.

accelerators.json holds only what is read here. Sources: AMD's data sheets and ROCm documentation (memory, partitions,
links), amdgpu.ids of the Kubernetes device plugin (device ids), vLLM's ROCm platform (formats: fp8 from gfx942 on,
MX formats on gfx950). Not verified on hardware: MI308X, MI300A, and the links of MI250X.

models.json holds ModelFacts by Hugging Face id. Sources: the models' own config.json as cited by litgpt and by
transformers 5.23; the parameter totals that follow from it equal the published ones wherever those are known to the
last digit. Left null because sources disagree or are missing: maxPosition of Qwen2.5, Mistral Large, Mistral Small and
Llama 4. Left out because they are not verified: vision towers of Gemma 3 and Llama 4 (their weights count as nothing
here).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from app.fit.codec import read
from app.fit.model import ModelFacts, parse_facts

GIB = 1024**3
_UNREPORTED = 64 * 1024**2
_PARTS = {"SPX": 1, "DPX": 2, "TPX": 3, "QPX": 4}


@dataclass(frozen=True)
class Accelerator:
    """One kind of GPU: what one unit of the resource `amd.com/gpu` is."""

    key: str
    """Short unique name: MI300X, or MI300X-CPX-NPS4 for a partition of one."""
    name: str
    """AMD's name; the labeller writes it with underscores, with a suffix for the form factor."""
    gfx: str
    """Instruction set, for example gfx942."""
    nominal_gib: int
    reported_bytes: int | None = None
    """Memory as the driver reports it, where that is known."""
    island: int = 1
    """GPUs in one full-mesh XGMI group."""
    per_node: int = 8
    """Most GPUs of one node in AMD's platforms."""
    fp8: bool = False
    """Has FP8 units; without them FP8 is only emulated."""
    mx: bool = False
    """Computes MXFP4 and MXFP8 natively; elsewhere such weights are converted up while they are used."""
    device_ids: tuple[str, ...] = ()
    """PCI device ids, lower-case hexadecimal without 0x."""
    dies: int = 1
    """Compute dies (XCDs), as many as CPX makes partitions."""
    partitions: tuple[str, ...] = ()
    """Compute partition modes it can be set to."""

    @property
    def memory_bytes(self) -> int:
        """Memory of one GPU as the driver reports it, in bytes."""
        return self.reported_bytes or self.nominal_gib * GIB - _UNREPORTED


def _load() -> tuple[Accelerator, ...]:
    rows = json.loads(resources.files(__package__).joinpath("accelerators.json").read_text())
    found = tuple(read(Accelerator, row) for row in rows)
    if None in found:
        raise ValueError(f"accelerators.json: row {found.index(None)} cannot be read")
    return tuple(accelerator for accelerator in found if accelerator)


ACCELERATORS: tuple[Accelerator, ...] = tuple(sorted(_load(), key=lambda accelerator: accelerator.key))
"""Every known product, sorted by key: the order says nothing about which is better."""


def find_accelerator(device_id: str = "", product_name: str = "") -> Accelerator | None:
    """The product with this PCI device id, else with this name in the labeller's spelling; None when unknown.

    `device_id` is hexadecimal, with or without 0x. `product_name` is AMD_Instinct_MI300X_OAM or the like: the longest
    known name it starts with wins, so that a W7800 with 48 GB is not taken for the smaller one.
    """
    wanted = device_id.lower().removeprefix("0x")
    by_id = (item for item in ACCELERATORS if wanted in item.device_ids)
    return next(by_id, None) or _find_by_name(product_name)


def _find_by_name(product_name: str) -> Accelerator | None:
    words = _words(product_name)
    matches = [item for item in ACCELERATORS if words[: len(_words(item.name))] == _words(item.name)]
    return max(matches, key=lambda item: len(item.name), default=None)


def _words(name: str) -> list[str]:
    return name.lower().replace("_", " ").split()


def partitioned(accelerator: Accelerator, mode: str) -> Accelerator | None:
    """One partition of a GPU in a mode such as "cpx_nps4"; SPX is the whole GPU. None when it has no such mode."""
    compute = mode.upper().partition("_")[0]
    if compute not in accelerator.partitions:
        return None
    parts = _PARTS.get(compute, accelerator.dies)
    if parts == 1:
        return accelerator
    return replace(
        accelerator,
        key=f"{accelerator.key}-{mode.upper().replace('_', '-')}",
        reported_bytes=accelerator.memory_bytes // parts,
        island=parts,
        per_node=accelerator.per_node * parts,
        dies=accelerator.dies // parts,
        partitions=(),
    )


@cache
def _models() -> Mapping[str, ModelFacts | None]:
    rows: Mapping[str, Mapping[str, object]] = json.loads(
        resources.files(__package__).joinpath("models.json").read_text()
    )
    return {name.lower(): parse_facts(row) for name, row in rows.items()}


def find_model(model_id: str) -> ModelFacts | None:
    """The catalogue's facts of this Hugging Face id, whatever its case; None when it is not listed exactly."""
    return _models().get(model_id.lower())
