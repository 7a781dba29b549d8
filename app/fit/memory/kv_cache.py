"""Bytes of the KV cache that one sequence takes on one GPU.

    attention, a token and layer       2 x max(1, k // TP) x d x b          k key-value heads of width d, b bytes
    latent attention                   (kv_rank + rope_dim) x b             the same on every tensor-parallel GPU
    full layer, length n               ceil(n / 16) blocks of 16 tokens
    sliding layer, window W            ceil(min(W - 1 + F, n) / 16) + 1 blocks; F = tokens in flight
    linear layer                       3 states of (2 K + V) / TP x (kernel - 1) x 2 + v x key_dim x value_dim / TP x 2

K and V are key and value heads times their widths. F = batches that run at once x tokens of a batch: vLLM prepares
one batch while another runs, and has one in each pipeline stage, so max(2, PP). A state is kept three times because
prefix caching, on by default, keeps copies. Whole model, 16 bits, one GPU: Llama-3.1-8B 131,072 bytes a token,
70B 327,680, 405B 516,096, DeepSeek-V3 70,272. Not counted: padding where vLLM puts layers of different kinds in pages
of one size. Source: vLLM 0.33, v1/kv_cache_interface; F's factor is an upper bound that was not verified.
"""

from __future__ import annotations

from app.fit.memory.layers import Attention, PipelineStage
from app.fit.model import LinearAttention, ModelFacts

BLOCK = 16
"""Tokens of one block, vLLM's default."""
STATES = 3


def token_bytes(model: ModelFacts, tensor: int, bits: int) -> int:
    """One token in one attention layer on one of `tensor` GPUs, in bytes; `bits` of one cached value."""
    if model.latent:
        return (model.latent.kv_rank + model.latent.rope_dim) * bits // 8
    return 2 * max(1, model.kv_heads // tensor) * model.head_size * bits // 8


def state_bytes(linear: LinearAttention, tensor: int) -> int:
    """The state of one linear layer on one of `tensor` GPUs, in bytes, in 16-bit numbers."""
    convolved = 2 * linear.key_heads * linear.key_dim + linear.value_heads * linear.value_dim
    recurrent = linear.value_heads * linear.key_dim * linear.value_dim
    return 2 * -(-(convolved * (linear.conv_kernel - 1) + recurrent) // tensor)


def sequence_bytes(model: ModelFacts, stage: PipelineStage, length: int, in_flight: int, tensor: int, bits: int) -> int:
    """One sequence of `length` tokens in the layers of a stage on one GPU, in bytes; `in_flight` tokens."""
    window = model.sliding.window if model.sliding else 0
    tokens = {
        Attention.FULL: _blocks(length) * BLOCK,
        Attention.SLIDING: (_blocks(min(window - 1 + in_flight, length)) + 1) * BLOCK,
        Attention.LINEAR: 0,
    }
    cached = sum(count * tokens[kind.attention] for kind, count in stage.layers) * token_bytes(model, tensor, bits)
    states = sum(count for kind, count in stage.layers if kind.attention is Attention.LINEAR) * STATES
    return cached + (states * state_bytes(model.linear, tensor) if model.linear else 0)


def growth_bytes(model: ModelFacts, stage: PipelineStage, tensor: int, bits: int) -> int:
    """What one token more adds to a long sequence in the layers of a stage on one GPU, in bytes: only layers of full
    attention grow. Where there are none, those with a window count, which grow up to it."""
    full = sum(count for kind, count in stage.layers if kind.attention is Attention.FULL)
    growing = full or sum(count for kind, count in stage.layers if kind.attention is Attention.SLIDING)
    return growing * token_bytes(model, tensor, bits)


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK)
