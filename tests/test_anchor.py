"""The anchor path: silent at first, then heard at every layer, at any size of the latents."""

from __future__ import annotations

import pytest
import torch
from tiny import noise, wake

from artv_cli.model.anchor import STEM_WIDTH, AnchorLayer, AnchorPath, AnchorTransformer

LAYERS = (AnchorLayer(16, 2, 1), AnchorLayer(32, 2, 4), AnchorLayer(16, 1, 2))


def anchor_path() -> AnchorPath:
    torch.manual_seed(0)
    return AnchorPath(latent_channels=4, layers=LAYERS, norm_groups=8)


def transformer() -> AnchorTransformer:
    torch.manual_seed(0)
    return AnchorTransformer(width=16, heads=2, norm_groups=8)


@pytest.mark.parametrize(
    ("size", "tokens"), [((8, 8), [64, 4, 16]), ((13, 9), [117, 4 * 3, 7 * 5])]
)
def test_each_layer_sees_the_anchor_at_its_own_resolution(
    size: tuple[int, int], tokens: list[int]
) -> None:
    prepared = anchor_path().prepare(noise(2, 4, *size))
    for context, layer, count in zip(prepared, LAYERS, tokens, strict=True):
        assert context.keys.shape == context.values.shape == (2, count, layer.width)


def test_fresh_transformer_leaves_its_input_as_it_is() -> None:
    fresh, x = transformer(), noise(2, 16, 4, 4)
    assert torch.equal(fresh(x, fresh.prepare(noise(2, STEM_WIDTH, 4, 4, seed=1))), x)


def test_awake_transformer_hears_the_anchor_and_adds_to_its_input() -> None:
    awake, x = transformer(), noise(2, 16, 4, 6)
    wake(awake)
    first, second = (
        awake(x, awake.prepare(noise(2, STEM_WIDTH, 4, 6, seed=seed))) for seed in (1, 2)
    )
    assert first.shape == x.shape
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, x)


def test_a_layer_takes_an_anchor_of_another_size_than_its_input() -> None:
    awake = transformer()
    wake(awake)
    assert awake(noise(1, 16, 5, 3), awake.prepare(noise(1, STEM_WIDTH, 2, 2))).shape[-2:] == (5, 3)


def test_all_layers_share_one_stem() -> None:
    path = anchor_path()
    before = path.prepare(noise(1, 4, 8, 8))
    with torch.no_grad():
        path.stem.weight.mul_(2)
    after = path.prepare(noise(1, 4, 8, 8))
    assert not any(torch.equal(b.keys, a.keys) for b, a in zip(before, after, strict=True))
