"""Paths: how characters move, and that the picture shows them."""

import random

import pytest

from artv_cli.storybook.camera import pans, views
from artv_cli.storybook.motion import Pose, poses
from artv_cli.storybook.script import Script, sample_script


def path(character: str, motion: str, scene: str, length: int = 9, **how: object) -> list[Pose]:
    script = Script(character, scene, (motion,) * length, length, **how)
    return poses(script, pans(script.motions), random.Random(1))[0]


def test_a_jump_leaves_the_ground_and_comes_back_after_eight_frames() -> None:
    heights = [pose.y for pose in path("cat", "jump", "snow")]
    assert heights[0] - min(heights) > 0.2
    assert heights[8] == pytest.approx(heights[0])


def test_who_flies_down_lands_and_stays_on_the_ground() -> None:
    flight = path("owl", "down", "meadow", 14)
    heights = [pose.ground - pose.feet for pose in flight]
    assert heights[0] > 0.2 and heights[-1] == pytest.approx(0)
    assert min(heights) > -1e-9


def test_the_cycle_runs_while_a_character_moves_only() -> None:
    for motion, runs in (
        ("left", True),
        ("jump", True),
        ("still", False),
        ("sleep", False),
        ("pan-left", False),
        ("dusk", False),
    ):
        phases = {pose.phase for pose in path("dog", motion, "beach")}
        assert (len(phases) > 1) == runs


def test_the_pace_is_that_of_the_script() -> None:
    way = {
        pace: abs(track[-1].x - track[0].x)
        for pace in ("slowly", "steadily", "quickly")
        for track in [path("fox", "right", "snow", pace=pace)]
    }
    assert way["slowly"] < 0.8 * way["steadily"] < 0.8 * 0.8 * way["quickly"]


def test_who_sleeps_wakes_up_again() -> None:
    script = Script("pig", "farm", ("sleep",) * 6 + ("left",) * 6, 6)
    track = poses(script, pans(script.motions), random.Random(0))[0]
    assert track[5].asleep == 1 and track[-1].asleep == 0
    assert track[5].feet == pytest.approx(track[-1].feet)


def test_most_frames_show_the_characters() -> None:
    shown = []
    for seed in range(400):
        script = sample_script(seed, 14)
        paths = poses(script, pans(script.motions), random.Random(seed))
        seen = views(script.motions, paths[0])
        for track in paths:
            poses_seen = [view.of(pose) for view, pose in zip(seen, track, strict=True)]
            shown += [0 < pose.x < 1 and 0 < pose.y < 1 for pose in poses_seen]
    assert sum(shown) > 0.93 * len(shown)
