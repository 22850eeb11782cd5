"""Noise depends on seed and purpose alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from artv_cli.diffusion.noise import AUGMENTATION, INITIAL, augment, gaussian, step_noise
from artv_cli.diffusion.schedule import Schedule

SHAPE = (1, 4, 16, 16)
seeds = st.integers(0, 2**63 - 1)


@given(seeds, st.text())
def test_noise_is_reproducible(seed, purpose):
    assert torch.equal(gaussian(seed, purpose, SHAPE), gaussian(seed, purpose, SHAPE))


@given(seeds, seeds)
def test_noise_differs_by_seed(one, other):
    same = torch.equal(gaussian(one, INITIAL, SHAPE), gaussian(other, INITIAL, SHAPE))
    assert same == (one == other)


def test_noise_differs_by_purpose_and_step():
    steps = step_noise(7, SHAPE)
    draws = [gaussian(7, INITIAL, SHAPE), gaussian(7, AUGMENTATION, SHAPE), steps(0), steps(1)]
    for index, draw in enumerate(draws):
        assert not any(torch.equal(draw, other) for other in draws[index + 1 :])


def test_step_noise_does_not_depend_on_the_order_of_asking():
    forward, backward = step_noise(7, SHAPE), step_noise(7, SHAPE)
    drawn = [forward(0), forward(1)]
    assert torch.equal(backward(1), drawn[1]) and torch.equal(backward(0), drawn[0])


def test_noise_neither_reads_nor_moves_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = gaussian(7, INITIAL, SHAPE)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(gaussian(7, INITIAL, SHAPE), first)


def test_a_seed_and_purpose_never_run_into_each_other():
    assert not torch.equal(gaussian(1, "2 step", SHAPE), gaussian(12, " step", SHAPE))


def test_noise_is_standard_normal_float32_on_the_cpu():
    noise = gaussian(7, INITIAL, (1, 4, 128, 128))
    assert noise.dtype == torch.float32 and noise.device.type == "cpu"
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02


def test_these_bits_are_the_first_version_of_the_noise():
    # A change here is another film for every seed: raise plan.EPOCH with it.
    first_and_last = gaussian(7, INITIAL, SHAPE).flatten()[[0, -1]]
    torch.testing.assert_close(first_and_last, torch.tensor([0.4892389, 0.9531626]))


def test_augmentation_keeps_unit_deviation_and_adds_the_level_s_share_of_noise():
    schedule = Schedule.scaled_linear()
    latents, noise = (
        gaussian(1, "latents", (1, 4, 64, 64)),
        gaussian(1, AUGMENTATION, (1, 4, 64, 64)),
    )
    corrupted = augment(latents, 200, noise, schedule)
    assert abs(corrupted.std() - 1) < 0.02
    correlation = (corrupted * latents).mean() / (corrupted.std() * latents.std())
    assert abs(correlation - schedule.alphas_cumprod[200].sqrt()) < 0.02
