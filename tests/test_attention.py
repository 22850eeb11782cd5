"""Prepared attention equals diffusers' own, and the training path equals the fused one."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from tiny import noise

from artv_cli.model.attention import attend, keys_values, text_transformer

CONTEXT_WIDTH = 12


def attention(**options: bool) -> Attention:
    torch.manual_seed(0)
    layer = Attention(16, cross_attention_dim=CONTEXT_WIDTH, heads=2, dim_head=8, **options)
    return layer.requires_grad_(False)


def spatial_transformer(*, linear: bool, upcast: bool) -> Transformer2DModel:
    torch.manual_seed(0)
    layer = Transformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=16,
        num_layers=2,
        norm_num_groups=8,
        cross_attention_dim=CONTEXT_WIDTH,
        use_linear_projection=linear,
        upcast_attention=upcast,
    )
    return layer.requires_grad_(False)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("upcast", [True, False])
def test_prepared_keys_and_values_give_diffusers_own_attention(
    training: bool, upcast: bool
) -> None:
    layer = attention(upcast_attention=upcast)
    tokens, context = noise(2, 6, 16), noise(2, 7, CONTEXT_WIDTH, seed=1)
    with torch.set_grad_enabled(training):
        ours = attend(layer, tokens, keys_values(layer, context))
    torch.testing.assert_close(ours, layer(tokens, encoder_hidden_states=context))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("upcast", [True, False])
def test_text_transformer_equals_diffusers_own(training: bool, linear: bool, upcast: bool) -> None:
    layer = spatial_transformer(linear=linear, upcast=upcast)
    x, text = noise(2, 16, 5, 3), noise(2, 7, CONTEXT_WIDTH, seed=1)
    contexts = [keys_values(block.attn2, text) for block in layer.transformer_blocks]
    with torch.set_grad_enabled(training):
        ours = text_transformer(layer, x, contexts)
    torch.testing.assert_close(ours, layer(x, text, return_dict=False)[0])


def test_plain_products_for_training_equal_the_fused_kernel() -> None:
    layer = attention()
    tokens, context = noise(2, 40, 16), noise(2, 30, CONTEXT_WIDTH, seed=1)
    plain = attend(layer, tokens, keys_values(layer, context))
    with torch.no_grad():
        fused = attend(layer, tokens, keys_values(layer, context))
    torch.testing.assert_close(plain, fused)


def test_gradients_of_the_training_path_are_those_of_the_fused_kernel() -> None:
    layer = attention()
    ours, theirs = (noise(2, 6, 16).requires_grad_() for _ in range(2))
    context = noise(2, 7, CONTEXT_WIDTH, seed=1)
    attend(layer, ours, keys_values(layer, context)).square().sum().backward()
    layer(theirs, encoder_hidden_states=context).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half_precision_also_where_scores_are_upcast(
    dtype: torch.dtype,
) -> None:
    layer = attention(upcast_attention=True).to(dtype)
    tokens, context = noise(1, 6, 16).to(dtype), noise(1, 7, CONTEXT_WIDTH).to(dtype)
    with torch.no_grad():
        assert attend(layer, tokens, keys_values(layer, context)).dtype == dtype
