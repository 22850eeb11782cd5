"""Paths: how characters move, and that the picture shows them."""

import random
from itertools import pairwise

import pytest

from artv_cli.storybook.camera import pans, views
from artv_cli.storybook.motion import CELL, FEET, FREE, PERIOD, SIZE, STEP, Pose, poses
from artv_cli.storybook.script import Script, sample_script


def path(character: str, motion: str, scene: str, length: int = 9, **how: object) -> list[Pose]:
    script = Script(character, scene, (motion,) * length, length, **how)
    return poses(script, pans(script.motions), random.Random(1))[0]


def is_on_grid(value: float, cell: float) -> bool:
    return abs(value / cell - round(value / cell)) < 1e-6


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


def test_paces_keep_to_half_steps() -> None:
    for pace, step in (("slowly", STEP / 2), ("steadily", STEP), ("quickly", 1.5 * STEP)):
        track = path("fox", "right", "snow", pace=pace)
        assert [b.x - a.x for a, b in pairwise(track)] == pytest.approx([step] * 8)


def test_nine_paths_in_ten_lie_on_the_grid_whatever_camera_and_company_do() -> None:
    on_grid = []
    for seed in range(400):
        script = sample_script(seed, 14)
        if {"closer", "away"} & {*script.motions}:  # sizes, and with them the ground, grow freely
            continue
        pan = pans(script.motions)
        paths = poses(script, pan, random.Random(seed))
        across = [p.x + moved for track in paths for p, moved in zip(track, pan, strict=True)]
        on_grid.append(all(is_on_grid(x, STEP / 2) for x in across))
        if on_grid[-1]:
            first = paths[0][0]
            assert is_on_grid(first.x, CELL) and is_on_grid(first.ground, CELL)
            feet = [p.y + FEET * p.size for track in paths for p in track if not p.asleep]
            assert all(is_on_grid(y, STEP / 2) for y in feet)
    assert 1 - 1.6 * FREE < sum(on_grid) / len(on_grid) < 1 - 0.4 * FREE


def test_a_character_on_the_grid_has_few_sizes() -> None:
    sizes = set()
    for seed in range(60):
        script = Script("cow", "farm", ("left",) * 2, 2)
        sizes.add(poses(script, [0.0, 0.0], random.Random(seed))[0][0].size)
    assert 1 < len(sizes) < 20 and 1.04 * SIZE in sizes


def test_a_cycle_runs_in_the_eight_frames_of_a_jump() -> None:
    phases = [pose.phase for pose in path("dog", "left", "beach")]
    assert phases == [*range(phases[0], phases[0] + PERIOD + 1)]


def test_a_companion_follows_or_stands_by() -> None:
    for together in (True, False):
        script = Script("cat", "meadow", ("left",) * 8, 8, companion="dog", together=together)
        own, other = poses(script, pans(script.motions), random.Random(4))
        assert own[-1].x - own[0].x == pytest.approx(-7 * STEP)
        assert other[-1].x - other[0].x == pytest.approx(-7 * STEP if together else 0)
        assert other[0].ground < own[0].ground


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
