"""A language model small enough for any machine: a random Llama with a byte for a token, made in a second.

What it says makes no sense, but the same sense every time: that is all a test of serving needs. Standard library only.
"""

from __future__ import annotations

import json
import random
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

from tools.sandbox.api import Object

HIDDEN = 256
LAYERS = 4
HEADS = 8
KV_HEADS = 4
INTERMEDIATE = 512
CONTEXT = 2048
HEAD_DIM = HIDDEN // HEADS
SPECIALS = ("<|begin|>", "<|end|>")
VOCABULARY = 256 + len(SPECIALS)
PRINTABLE = range(ord(" "), ord("~") + 1)
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def write_model(folder: Path, seed: int = 0) -> Path:
    """All files of a checkpoint in Hugging Face's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "model.safetensors", seed)
    write_json(folder / "config.json", configuration())
    write_json(folder / "generation_config.json", {"bos_token_id": 256, "eos_token_id": 257})
    write_json(folder / "tokenizer.json", tokenizer())
    write_json(folder / "tokenizer_config.json", tokenizer_settings())
    return folder


def configuration() -> Object:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": VOCABULARY,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "torch_dtype": "bfloat16",
    }


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors, as transformers names them."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (HIDDEN,)
        yield prefix + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN)
        yield prefix + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield prefix + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield prefix + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM)
        yield prefix + "post_attention_layernorm.weight", (HIDDEN,)
        yield prefix + "mlp.gate_proj.weight", (INTERMEDIATE, HIDDEN)
        yield prefix + "mlp.up_proj.weight", (INTERMEDIATE, HIDDEN)
        yield prefix + "mlp.down_proj.weight", (HIDDEN, INTERMEDIATE)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def write_weights(path: Path, seed: int) -> None:
    """safetensors: the header's length, the header, then the tensors (bfloat16) one after another."""
    source = random.Random(seed)
    header: Object = {"__metadata__": {"format": "pt"}}
    tensors, offset = [], 0
    for name, shape in shapes():
        data = bfloat16(_values(name, shape, source))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        tensors.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors))


def _values(name: str, shape: tuple[int, ...], source: random.Random) -> array[float]:
    """Norms are one; the rest is spread so widely that no two next tokens are ever almost equally likely.

    The output layer knows printable letters only: other tokens are never the likeliest, the end among them.
    """
    if len(shape) == 1:
        return array("f", [1.0]) * shape[0]
    output = name == "lm_head.weight"
    width = 0.5 if output else shape[1] ** -0.5
    values = array("f", (source.uniform(-1.7, 1.7) * width for _ in range(shape[0] * shape[1])))
    for token in set(range(shape[0])) - set(PRINTABLE) if output else ():
        values[token * HIDDEN : (token + 1) * HIDDEN] = array("f", [0.0]) * HIDDEN
    return values


def bfloat16(values: array[float]) -> bytes:
    """The upper halves of little-endian 32-bit floats."""
    whole = values.tobytes()
    half = bytearray(len(whole) // 2)
    half[0::2], half[1::2] = whole[2::4], whole[3::4]
    return bytes(half)


def byte_letters() -> list[str]:
    """The printable letter that stands for each byte in byte-level tokenizers."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def tokenizer() -> Object:
    """A byte-level BPE without merges, in the format of the `tokenizers` library."""
    vocabulary = {letter: byte for byte, letter in enumerate(byte_letters())}
    added = [
        {
            "id": 256 + index,
            "content": special,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, special in enumerate(SPECIALS)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary | {special: 256 + index for index, special in enumerate(SPECIALS)},
            "merges": [],
        },
    }


def tokenizer_settings() -> Object:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIALS[0],
        "eos_token": SPECIALS[1],
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }


def write_json(path: Path, content: Object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
