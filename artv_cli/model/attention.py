"""Attention whose keys and values are prepared once per frame instead of once per step.

The text and the anchor do not change between denoising steps, so their keys and values are
computed by `keys_values` when a frame's conditions are prepared, and only the queries are
computed in a step. The weights stay where diffusers put them.

Legend: b batch, n query tokens, m context tokens, d width, c channels, h w latent size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor

# Where no fused kernel spares the n x m scores, a batch is taken row by row to hold fewer at once.
UNFUSED = {"mps"}


class KeysValues(NamedTuple):
    """What one attention layer needs of its context: each (b, m, d)."""

    keys: Tensor
    values: Tensor


def keys_values(attention: Attention, context: Tensor) -> KeysValues:
    """Project a context (b, m, context width) to the layer's keys and values."""
    return KeysValues(attention.to_k(context), attention.to_v(context))


def attend(attention: Attention, tokens: Tensor, context: KeysValues) -> Tensor:
    """Let `tokens` (b, n, d) attend to a prepared context; return (b, n, d)."""
    query = _split_heads(attention.to_q(tokens), attention.heads)
    keys, values = (_split_heads(x, attention.heads) for x in context)
    mixed = _attention(query, keys, values, upcast=attention.upcast_attention)
    return attention.to_out[0](mixed.transpose(1, 2).flatten(2))


def text_transformer(
    transformer: Transformer2DModel, x: Tensor, contexts: list[KeysValues]
) -> Tensor:
    """Run a diffusers spatial transformer on x (b, c, h, w), one prepared context per block."""
    tokens = into_tokens(transformer, x)
    for block, context in zip(transformer.transformer_blocks, contexts, strict=True):
        tokens = _transformer_block(block, tokens, context)
    return x + from_tokens(transformer, tokens, x)


def into_tokens(transformer: Transformer2DModel, x: Tensor) -> Tensor:
    """Normalise and project x (b, c, h, w) into tokens (b, h*w, d)."""
    x = transformer.norm(x)
    if transformer.use_linear_projection:
        return transformer.proj_in(_flatten(x))
    return _flatten(transformer.proj_in(x))


def from_tokens(transformer: Transformer2DModel, tokens: Tensor, like: Tensor) -> Tensor:
    """Project tokens (b, h*w, d) back to the shape of `like` (b, c, h, w)."""
    if transformer.use_linear_projection:
        return _unflatten(transformer.proj_out(tokens), like)
    return transformer.proj_out(_unflatten(tokens, like))


def _transformer_block(block: BasicTransformerBlock, tokens: Tensor, text: KeysValues) -> Tensor:
    normed = block.norm1(tokens)
    tokens = tokens + attend(block.attn1, normed, keys_values(block.attn1, normed))
    tokens = tokens + attend(block.attn2, block.norm2(tokens), text)
    return tokens + block.ff(block.norm3(tokens))


def _attention(query: Tensor, keys: Tensor, values: Tensor, *, upcast: bool) -> Tensor:
    # On a CPU the fused kernel's backward pass takes four fifths of a training step when heads
    # are small; plain products are several times faster there, and nowhere else.
    if query.device.type == "cpu" and torch.is_grad_enabled():
        scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
        return scores.softmax(dim=-1).to(values.dtype) @ values
    if upcast:
        return _mix(query.float(), keys.float(), values.float()).to(values.dtype)
    return _mix(query, keys, values)


def _mix(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    if query.device.type not in UNFUSED:
        return F.scaled_dot_product_attention(query, keys, values)
    rows = zip(query.split(1), keys.split(1), values.split(1), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*row) for row in rows])


def _split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (b, heads, n, d / heads)


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (b, h*w, c)


def _unflatten(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, like.shape[-2:])  # (b, c, h, w)
