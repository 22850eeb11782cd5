"""Shots end where pictures jump, and motion is what moves between two frames of a shot."""

from __future__ import annotations

import numpy as np
import pytest

from artv_cli.latents import Pixels
from artv_cli.prepare.shots import ContentMeter, pieces


def plain(level: int, count: int, side: int = 16) -> list[Pixels]:
    return [np.full((side, side, 3), level, np.uint8)] * count


def stretches(frames: list[Pixels], longest: int = 80) -> list[tuple[int, int]]:
    return [(piece.start, len(piece.frames)) for piece in pieces(frames, longest)]


def test_a_jump_is_a_cut_even_within_a_second() -> None:
    frames = plain(20, 9) + plain(220, 2) + plain(20, 12)
    assert stretches(frames) == [(0, 9), (9, 2), (11, 12)]


def test_long_shots_come_in_pieces() -> None:
    assert stretches(plain(20, 25), longest=10) == [(0, 10), (10, 10), (20, 5)]


def test_no_frame_is_lost_or_shown_twice() -> None:
    frames = [np.full((4, 4, 3), level, np.uint8) for level in range(33)]
    there = [frame for piece in pieces(frames, 10) for frame in piece.frames]
    assert [int(frame[0, 0, 0]) for frame in there] == list(range(33))


def test_another_size_of_picture_is_a_cut() -> None:
    assert stretches(plain(20, 5) + plain(20, 5, side=24)) == [(0, 5), (5, 5)]


def test_nothing_gives_nothing() -> None:
    assert stretches([]) == []


def test_the_content_value_is_the_mean_change_of_hue_saturation_and_brightness() -> None:
    """Of grey pictures only the brightness changes, which is a third of the sum."""
    meter = ContentMeter()
    values = [meter.measure(i, plain(level, 1)[0]) for i, level in enumerate((10, 16, 10, 94))]
    assert values == [(False, 0.0), (False, 2.0), (False, 2.0), (True, 28.0)]


def test_the_motion_of_a_piece_leaves_out_the_cut_before_it() -> None:
    greys = [10, 13, 10, 13, 200, 206, 200]
    first, second = pieces([plain(level, 1)[0] for level in greys], 80)
    assert (first.motion, second.motion) == (pytest.approx(1.0), pytest.approx(2.0))


def test_red_is_red() -> None:
    """The detector takes blue first: hue differs where channels are mixed up."""
    red, brown = (np.full((8, 8, 3), rgb, np.uint8) for rgb in ((200, 0, 0), (200, 60, 0)))
    meter = ContentMeter()
    meter.measure(0, red)
    hue_change = 60 / 200 * 60 / 2  # degrees of the colour circle, halved as OpenCV has them
    assert meter.measure(1, brown)[1] == pytest.approx(hue_change / 3, abs=0.4)
