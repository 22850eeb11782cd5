"""The figures: each on cases whose answer is known beforehand."""

from __future__ import annotations

import math

import pytest
import torch

from artv_cli.evaluate.figures import (
    BEST,
    TREMBLE,
    background_psnr,
    drift,
    gradient_energy,
    motion_magnitude,
    psnr,
    wilson,
)

EVERYWHERE = torch.ones(1, 1, 8, 8, dtype=torch.bool)
NOWHERE = ~EVERYWHERE
LEFT = EVERYWHERE & (torch.arange(8) < 4)


def test_psnr_of_a_constant_error_is_known() -> None:
    frames = torch.zeros(2, 3, 8, 8)
    assert psnr(frames + 0.2, frames) == pytest.approx(20, abs=1e-4)
    assert psnr(frames, frames) == BEST


def test_psnr_looks_at_its_region_alone() -> None:
    frames = torch.zeros(1, 3, 8, 8)
    spoilt = torch.where(LEFT, torch.tensor(1.0), torch.tensor(0.02))
    assert psnr(spoilt.expand(1, 3, 8, 8), frames, ~LEFT) == pytest.approx(40, abs=1e-4)


def test_the_background_leaves_out_where_the_character_was_and_is() -> None:
    anchor, frame = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.02)
    here = EVERYWHERE & (torch.arange(8) >= 6)
    anchor = torch.where(here, torch.tensor(1.0), anchor)
    frame = torch.where(LEFT, torch.tensor(-1.0), frame)
    assert background_psnr(frame, anchor, LEFT, here) == pytest.approx(40, abs=1e-4)
    assert background_psnr(frame, anchor, LEFT, NOWHERE) < 20
    assert background_psnr(frame, anchor, EVERYWHERE, NOWHERE) is None


def test_gradient_energy_of_a_ramp_is_its_squared_slope() -> None:
    ramp = (0.1 * torch.arange(8.0)).expand(1, 3, 8, 8)
    # Of 56 differences down, each 0, and 56 across, each 0.1 in three channels.
    assert gradient_energy(ramp, EVERYWHERE) == pytest.approx(3 * 0.01 / 2)
    assert gradient_energy(2 * ramp, LEFT) == pytest.approx(4 * 3 * 0.01 * 24 / (24 + 28))
    assert gradient_energy(ramp, NOWHERE) == 0


def test_what_is_blurred_has_less_gradient_energy() -> None:
    noise = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    soft = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    assert gradient_energy(soft, EVERYWHERE) < 0.5 * gradient_energy(noise, EVERYWHERE)


def test_a_frozen_or_trembling_video_has_no_motion() -> None:
    still = torch.zeros(16, 3, 8, 8)
    assert motion_magnitude(still) == 0
    assert motion_magnitude(still[:1]) == 0
    still[::2] += TREMBLE
    assert motion_magnitude(still) == 0


def test_motion_is_the_mean_change_beyond_a_tremble() -> None:
    flicker = torch.zeros(3, 3, 8, 8)
    flicker[1, :, :, :4] = 0.5
    assert motion_magnitude(flicker) == pytest.approx((0.5 - TREMBLE) / 2)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(
    right: int, count: int, low: float, high: float
) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-4)


def test_wilsons_interval_stays_within_0_and_1() -> None:
    low, high = wilson(40, 40)
    assert (math.isclose(high, 1.0), 0.9 < low < 1) == (True, True)


def test_drift_is_the_points_of_accuracy_that_are_lost() -> None:
    assert drift([True] * 4, [True, True, True, False]) == 25
    assert drift([False, True], [True, True]) == -50
