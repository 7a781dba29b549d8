"""Small models: real safetensors files, real config.json."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "U8": 1, "I32": 4}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}


def safetensors(tensors: Mapping[str, tuple[str, Sequence[int]]], seed: int = 0) -> bytes:
    """A file with these tensors: name -> (dtype, shape)."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + _elements(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + random.Random(seed).randbytes(end)


def model(weights: int = 100_000, config: Mapping[str, object] = LLAMA, seed: int = 0) -> dict[str, bytes]:
    """The files of a small model whose one weight has this many BF16 values."""
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "model.safetensors": safetensors({"model.embed_tokens.weight": ("BF16", [weights])}, seed),
    }


def _elements(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
