"""Abbreviations: vLLM's parser takes any unambiguous beginning of an argument's name for the argument (argparse).

So `api_ke` sets api_key. What the operator owns, or reads because a plan or a check depends on it, is refused in every
shortened form; other arguments may be shortened as vLLM likes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice

from app.vllm.code import CODE_ARGUMENTS
from app.vllm.owned import ARGUMENTS
from app.vllm.table import engine_arguments

READ = (
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "prefill_context_parallel_size",
    "distributed_executor_backend", "data_parallel_backend", "enable_expert_parallel", "max_model_len", "dtype",
    "quantization", "kv_cache_dtype", "gpu_memory_utilization", "max_num_batched_tokens", "override_generation_config",
    "hf_overrides", *sorted(CODE_ARGUMENTS),
)  # fmt: skip
"""Arguments that the operator reads by their whole names."""


def find_abbreviated(name: str) -> str:
    """The argument that vLLM may take this unknown name for, if it matters; "" when it matters not."""
    table, name = engine_arguments(), name.lower()
    if not name or name in table.removed:
        return ""
    found: list[tuple[int, str]] = []
    options = _sorted_options()
    for option, rank, whole in islice(options, bisect_left(options, (name,)), None):
        if not option.startswith(name):
            break
        found.append((rank, whole))
    return min(found)[1] if found else ""


@cache
def _sorted_options() -> list[tuple[str, int, str]]:
    """By name, so that those with the same beginning stand together; each with its place in `_options`."""
    return sorted((option, rank, whole) for rank, (option, whole) in enumerate(_options().items()))


@cache
def _options() -> Mapping[str, str]:
    """Every way in which the parser knows these arguments, with the argument; owned ones go first."""
    table = engine_arguments()
    tls = sorted(name for name in table.arguments if name.startswith("ssl_"))
    return {option: name for name in (*ARGUMENTS, *tls, *READ) for option in _spellings(name)}


def _spellings(name: str) -> Iterator[str]:
    table = engine_arguments()
    known = table.arguments.get(name)
    negative = known.negative if known else ""
    aliases = (alias for alias, whole in table.aliases.items() if whole == name)
    for option in (name, negative, *aliases):
        if option:
            yield from (option, f"no_{option}")
