"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from artv_cli.train.ema import WeightAverage


def module(value: float = 0.0, dtype: torch.dtype = torch.float32) -> nn.Module:
    layer = nn.Linear(2, 3, dtype=dtype)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, value)
    return layer


def test_an_average_starts_as_the_weights_and_stays_where_they_stay() -> None:
    still = module(0.7)
    average = WeightAverage(still, decay=0.9999)
    for step in range(20):
        average.update(still, step)
    for weight in average.weights.values():
        assert torch.equal(weight, torch.full_like(weight, 0.7))


@pytest.mark.parametrize(
    ("step", "decay"),
    [(0, 1 / 10), (5, 6 / 15), (10_000, 10_001 / 10_010), (10**6, 0.9999)],
)
def test_early_averages_follow_faster_and_late_ones_at_the_decay(step: int, decay: float) -> None:
    average = WeightAverage(module(0.0), decay=0.9999)
    average.update(module(1.0), step)
    assert average.weights["bias"].tolist() == pytest.approx([1 - decay] * 3, rel=1e-3)


def test_averages_of_half_precision_weights_are_kept_in_single_precision() -> None:
    average = WeightAverage(module(1.0, torch.bfloat16), decay=0.9999)
    average.update(module(1.0078125, torch.bfloat16), 10**6)
    assert average.weights["weight"].dtype == torch.float32
    assert 1.0 < average.weights["weight"][0, 0] < 1.00001


def test_averages_are_copied_into_a_module() -> None:
    average, target = WeightAverage(module(2.0), decay=0.9), module(0.0)
    average.copy_to(target)
    assert torch.equal(target.weight, torch.full((3, 2), 2.0))


def test_an_average_does_not_share_memory_with_the_weights() -> None:
    moving = module(1.0)
    average = WeightAverage(moving, decay=0.9)
    nn.init.constant_(moving.bias, 3.0)
    assert average.weights["bias"][0] == 1.0
