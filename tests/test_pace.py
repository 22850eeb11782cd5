"""The time left: from new frames alone, right within a fifth after ten, whatever the first did."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from sample_plans import plan

from artv_cli.pace import Pace
from artv_cli.timings import effort

Noise = Callable[[random.Random], float]
STATIONARY: dict[str, Noise] = {
    "even": lambda r: 2.0,
    "uniform": lambda r: r.uniform(1.4, 2.6),
    "gaussian": lambda r: max(0.5, r.gauss(2.0, 0.4)),
    "lognormal": lambda r: 2.0 * r.lognormvariate(0, 0.2),
    "two speeds": lambda r: r.choice((1.7, 2.3)),
    "hiccups": lambda r: 2.0 if r.random() > 0.04 else 5.0,
}


@pytest.mark.parametrize("first", [2.0, 60.0], ids=["", "slow-first"])
@pytest.mark.parametrize("noise", STATIONARY.values(), ids=STATIONARY)
def test_after_ten_noisy_frames_the_time_left_is_right_within_a_fifth(
    noise: Noise, first: float
) -> None:
    errors = []
    for seed in range(200):
        luck = random.Random(seed)
        pace = Pace(200)
        pace.add(first)
        for _ in range(9):
            pace.add(noise(luck))
        told = pace.seconds_left
        truth = sum(noise(luck) for _ in range(190))
        assert told is not None
        errors.append(abs(told / truth - 1))
    assert sorted(errors)[-3] <= 0.2, "of 200 renders, two may be unlucky"


def test_one_hiccup_moves_the_pace_little() -> None:
    pace = Pace(100)
    pace.add(45.0)  # the first frame warms everything up
    for seconds in (1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 3.0, 1.0):
        pace.add(seconds)
    assert pace.seconds_left == pytest.approx(90, rel=0.2)


def test_the_pace_follows_a_machine_that_slows_down() -> None:
    pace = Pace(1000)
    for seconds in [1.0] * 100 + [3.0] * 40:
        pace.add(seconds)
    assert pace.seconds_per_frame == 3.0


def test_frames_that_are_more_work_take_longer() -> None:
    pace = Pace(10 * 8 + 10 * 50)
    for _ in range(10):
        pace.add(4.0, effort=8)
    assert pace.seconds_per_frame == pytest.approx(4.0)
    assert pace.seconds_left == pytest.approx(10 * 25.0)


def test_frames_of_a_sampler_that_asks_twice_a_step_are_that_much_more_work() -> None:
    once = {"prompt": "a cat walks", "frames": 11, "settings": {"sampler": "dpmpp_2m"}}
    twice = {"prompt": "a cat jumps", "frames": 10, "settings": {"sampler": "dpmpp_2s_ancestral"}}
    frames = plan(once, twice).frames[1:]
    pace = Pace(sum(map(effort, frames)))
    for frame in frames[:10]:
        pace.add(8.0, effort(frame))
    assert pace.seconds_left == pytest.approx(10 * 15.0), "of 8 steps, the last asks once"


def test_an_image_that_is_given_says_nothing_about_the_pace() -> None:
    pace = Pace(16)
    pace.add(0.01, effort=0)
    assert pace.seconds_left is None


def test_no_time_is_left_when_a_damaged_frame_was_one_more_than_foretold() -> None:
    pace = Pace(1)
    pace.add(2.0)
    pace.add(2.0)
    assert pace.seconds_left == 0


def test_no_pace_is_claimed_before_the_first_new_frame() -> None:
    assert Pace(3).seconds_per_frame is None
    assert Pace(3).seconds_left is None
