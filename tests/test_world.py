"""The procedural world: its clips, and the ground truth that comes with them."""

import random
from dataclasses import replace

import pytest
import torch

from artv_cli.storybook import motion as paths
from artv_cli.storybook import scenery
from artv_cli.storybook.characters import CHARACTERS, SCENES, medium, motions
from artv_cli.storybook.motion import CELL, STEP, poses
from artv_cli.storybook.scenery import background
from artv_cli.storybook.world import (
    Script,
    compose,
    held_out,
    sample_clip,
    sample_script,
    world_digest,
)


def _film(character: str, motion: str, scene: str, length: int = 8, seed: int = 0):
    script = Script(character, scene, (motion,) * length, length)
    picture = background(scene, (128, 128), torch.Generator().manual_seed(seed))
    return compose(script, picture, random.Random(seed))


def _centres(masks: torch.Tensor) -> torch.Tensor:
    """The centre of mass of each mask, (t, 2) as x, y."""
    grid = torch.arange(128.0)
    mass = masks[:, 0].sum((1, 2))
    x = (masks[:, 0].sum(1) * grid).sum(1) / mass
    y = (masks[:, 0].sum(2) * grid).sum(1) / mass
    return torch.stack([x, y], 1)


def test_a_clip_is_a_pure_function_of_its_seed() -> None:
    one, again, other = sample_clip(5, 6), sample_clip(5, 6), sample_clip(6, 6)
    assert torch.equal(one.frames, again.frames)
    assert one.captions == again.captions and one.script == again.script
    assert not torch.equal(one.frames, other.frames)


def test_a_clip_has_the_shapes_and_ranges_that_it_promises() -> None:
    for seed in range(8):
        clip = sample_clip(seed, 7)
        assert clip.frames.shape == (7, 3, 128, 128) and clip.frames.abs().max() <= 1
        assert clip.masks.shape == (7, 1, 128, 128)
        assert 0 <= clip.masks.min() and clip.masks.max() <= 1
        assert clip.background.shape == (3, 128, 128)
        assert len(clip.captions) == len(clip.script.motions) == 7


def test_other_sizes_are_composed_too() -> None:
    assert sample_clip(3, 2, size=(64, 96)).frames.shape == (2, 3, 64, 96)


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1)]
)
def test_a_character_travels_the_way_it_is_told(motion: str, axis: int, sign: int) -> None:
    _, masks = _film("bee", motion, "meadow")
    steps = _centres(masks).diff(dim=0)[:, axis] * sign
    assert steps.min() > 1.5 and steps.max() < 7


def test_a_jump_leaves_the_ground_and_comes_back_after_eight_frames() -> None:
    _, masks = _film("cat", "jump", "snow", 9)
    heights = _centres(masks)[:, 1]
    assert heights[0] - heights.min() > 20
    assert abs(heights[0] - heights[8]) < 2


def test_size_follows_closer_and_away() -> None:
    for motion, grows in (("closer", True), ("away", False)):
        area = _film("pig", motion, "desert")[1].sum((1, 2, 3))
        assert (area[-1] > 1.3 * area[0]) == grows
        assert (area[-1] < 0.77 * area[0]) != grows


def test_who_stands_still_does_not_change_one_pixel() -> None:
    frames, _ = _film("dog", "still", "beach")
    assert torch.equal(frames[0], frames[-1])


def test_a_spin_narrows_the_character_and_turns_it_round() -> None:
    _, masks = _film("car", "spin", "city", 9)
    width = (masks[:, 0].amax(1) > 0.5).sum(1)
    assert width.min() < 0.5 * width.max()


def test_characters_face_the_way_they_go() -> None:
    left, right = (_film("elephant", motion, "meadow", 1)[0] for motion in ("left", "right"))
    assert not torch.equal(left, right)
    frames = {}
    for motion in ("left", "right"):
        _, masks = _film("elephant", motion, "meadow", 1)
        x = _centres(masks)[0, 0].round().long()
        frames[motion] = torch.roll(masks[0, 0], int(64 - x), 1)
    mirrored = frames["right"].flip(1)
    same = (frames["left"] - frames["right"]).abs().mean()
    assert min((torch.roll(mirrored, k, 1) - frames["left"]).abs().mean() for k in (0, 1, 2)) < same


def test_the_scene_holds_still_outside_the_character_and_its_shadow() -> None:
    for seed in range(6):
        clip = sample_clip(seed, 6)
        outside = (clip.masks == 0).expand_as(clip.frames)
        darker = (clip.frames - clip.background)[outside]
        assert darker.max() < 1e-5
        assert (darker.abs() < 1e-5).float().mean() > 0.8


def test_half_of_the_clips_change_their_motion_and_with_it_the_caption() -> None:
    scripts = [sample_script(seed, 14) for seed in range(400)]
    switched = [script for script in scripts if script.switch < 14]
    assert 150 < len(switched) < 250
    for script in switched:
        assert 4 <= script.switch <= 10
        assert len(set(script.motions)) == 2
        assert script.motions[script.switch] != script.motions[script.switch - 1]
    clip = next(c for c in map(lambda s: sample_clip(s, 14), range(20)) if c.script.switch < 14)
    assert len(set(clip.captions)) == 2
    assert clip.captions[clip.script.switch] != clip.captions[clip.script.switch - 1]


def test_characters_are_drawn_evenly_and_only_do_what_makes_sense() -> None:
    scripts = [sample_script(seed, 14) for seed in range(3200)]
    counts = {c: sum(s.character == c for s in scripts) for c in CHARACTERS}
    assert min(counts.values()) > 50 and max(counts.values()) < 160
    for script in scripts:
        assert set(script.motions) <= set(motions(script.character, script.scene))


def test_most_frames_show_the_character() -> None:
    shown = []
    for seed in range(300):
        script = sample_script(seed, 14)
        path = poses(
            script.motions,
            CHARACTERS[script.character],
            SCENES[script.scene],
            medium(script.character, script.scene),
            random.Random(seed),
        )
        shown += [0 < pose.x < 1 and 0 < pose.y < 1 for pose in path]
    assert sum(shown) > 0.93 * len(shown)


def test_nine_paths_in_ten_lie_on_the_grid() -> None:
    on_grid = []
    for seed in range(300):
        rng = random.Random(seed)
        path = poses(
            ("right",) * 4 + ("left",) * 4, CHARACTERS["cat"], SCENES["meadow"], "land", rng
        )
        on_grid.append(all((pose.x / STEP).is_integer() for pose in path))
        if on_grid[-1]:
            assert (path[0].x / CELL).is_integer() and (path[0].ground / CELL).is_integer()
    assert 0.85 < sum(on_grid) / len(on_grid) < 0.95


def test_held_out_combinations_are_a_tenth_and_never_trained_on() -> None:
    triples = [(c, m, s) for c in CHARACTERS for s in SCENES for m in motions(c, s)]
    kept = [triple for triple in triples if held_out(*triple)]
    assert 0.07 < len(kept) / len(triples) < 0.13
    for seed in range(300):
        trained, judged = sample_script(seed, 14), sample_script(seed, 14, "held-out")
        for motion in set(trained.motions):
            assert not held_out(trained.character, motion, trained.scene)
        for motion in set(judged.motions):
            assert held_out(judged.character, motion, judged.scene)


def test_the_digest_is_that_of_one_world(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = world_digest.__wrapped__
    assert digest() == world_digest()
    with monkeypatch.context() as other:
        other.setattr(paths, "STEP", 0.7 * STEP)
        assert digest() != world_digest()
    with monkeypatch.context() as other:
        snow = scenery.LOOKS["snow"]
        other.setitem(scenery.LOOKS, "snow", replace(snow, ground=snow.sky))
        assert digest() != world_digest()
