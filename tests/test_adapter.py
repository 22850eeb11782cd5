"""The reference adapter: shapes, silence at the start, and features that follow the references."""

from __future__ import annotations

import pytest
import torch
from tiny import noise, wake

from artv_cli.model.adapter import ReferenceAdapter

CHANNELS = [8, 16, 24, 24]


def adapter() -> ReferenceAdapter:
    torch.manual_seed(0)
    return ReferenceAdapter(latent_channels=4, channels=CHANNELS)


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        ((16, 16), [(16, 16), (8, 8), (4, 4), (2, 2)]),
        ((8, 24), [(8, 24), (4, 12), (2, 6), (1, 3)]),
        ((13, 9), [(13, 9), (7, 5), (4, 3), (2, 2)]),
    ],
)
def test_one_feature_map_per_level_each_half_the_last_rounded_up(
    size: tuple[int, int], levels: list[tuple[int, int]]
) -> None:
    features = adapter()(noise(2, 8, *size))
    assert [tuple(f.shape) for f in features] == [
        (2, channels, *level) for channels, level in zip(CHANNELS, levels, strict=True)
    ]


def test_fresh_adapter_returns_zeros() -> None:
    assert not any(feature.any() for feature in adapter()(noise(2, 8, 16, 16)))


def test_each_reference_changes_every_level_once_awake() -> None:
    awake = adapter()
    wake(awake)
    references = noise(1, 8, 16, 16)
    for reference in (slice(0, 4), slice(4, 8)):
        changed = references.clone()
        changed[:, reference] += 1
        for before, after in zip(awake(references), awake(changed), strict=True):
            assert not torch.allclose(before, after)


def test_swapped_references_are_other_references() -> None:
    awake = adapter()
    wake(awake)
    references = noise(1, 8, 16, 16)
    swapped = references.roll(4, dims=1)
    assert not torch.allclose(awake(references)[0], awake(swapped)[0])


def test_one_step_moves_the_silent_layers_of_every_level() -> None:
    learning = adapter()
    sum(feature.sum() for feature in learning(noise(2, 8, 16, 16))).backward()
    assert learning.conv_in.weight.grad.any()
    assert all(block.block2.weight.grad.any() for level in learning.body for block in level.resnets)
