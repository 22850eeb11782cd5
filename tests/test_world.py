"""The procedural world: its clips, and the ground truth that comes with them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import artv_cli.storybook
from artv_cli.storybook import motion as paths
from artv_cli.storybook import scenery
from artv_cli.storybook.characters import CHARACTERS
from artv_cli.storybook.motion import STEP
from artv_cli.storybook.repertoire import SURROUNDINGS
from artv_cli.storybook.script import Script, sample_script
from artv_cli.storybook.world import Clip, compose, sample_clip, world_digest

MEGABYTE = 1_000_000


def film(character: str, motion: str, scene: str, length: int = 8, seed: int = 0) -> Clip:
    return compose(Script(character, scene, (motion,) * length, length), seed)


def centres(masks: torch.Tensor) -> torch.Tensor:
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
    for seed in range(12):
        clip = sample_clip(seed, 7)
        assert clip.frames.shape == clip.background.shape == (7, 3, 128, 128)
        assert clip.frames.abs().max() <= 1 and clip.background.abs().max() <= 1
        assert clip.masks.shape == (7, 1, 128, 128)
        assert 0 <= clip.masks.min() and clip.masks.max() <= 1
        assert len(clip.captions) == len(clip.script.motions) == 7


def test_other_sizes_are_composed_too() -> None:
    assert sample_clip(3, 2, size=(64, 96)).frames.shape == (2, 3, 64, 96)
    pan = Script("cat", "beach", ("pan-left",) * 4, 4)
    assert compose(pan, 0, (64, 96)).background.shape == (4, 3, 64, 96)


@pytest.mark.parametrize("character", CHARACTERS)
def test_every_character_has_a_sprite_that_is_drawn(character: str) -> None:
    script = next(
        script
        for seed in range(4000)
        if (script := sample_script(seed, 1)).character == character and not script.companion
    )
    clip = compose(replace(script, motions=("still",)), 1)
    assert 500 < clip.masks.sum() < 6000


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)]
)
def test_a_character_travels_the_way_it_is_told(motion: str, axis: int, sign: int) -> None:
    masks = film("bee", motion, "sea").masks
    steps = centres(masks).diff(dim=0)[:, axis] * sign
    assert steps.min() > 1.5 and steps.max() < 7


def test_size_follows_closer_and_away() -> None:
    for motion, grows in (("closer", True), ("away", False)):
        area = film("pig", motion, "desert").masks.sum((1, 2, 3))
        assert (area[-1] > 1.3 * area[0]) == grows
        assert (area[-1] < 0.77 * area[0]) != grows


def test_who_stands_still_does_not_change_one_pixel() -> None:
    frames = film("dog", "still", "beach").frames
    assert torch.equal(frames[0], frames[-1])


def test_a_sleeper_lies_flat_on_its_feet_and_then_does_not_move() -> None:
    asleep, awake = (film("cat", motion, "farm", 9, seed=2) for motion in ("sleep", "still"))
    rows = [frame.any(1).nonzero()[:, 0] for frame in asleep.masks[:, 0] > 0.5]
    assert len(rows[-1]) < 0.7 * len((awake.masks[0, 0] > 0.5).any(1).nonzero())
    feet = torch.stack([row.max() for row in rows])
    assert feet.max() - feet.min() <= 2
    assert torch.equal(asleep.frames[-2], asleep.frames[-1])


def test_a_spin_narrows_the_character_and_turns_it_round() -> None:
    width = (film("car", "spin", "city", 9).masks[:, 0].amax(1) > 0.5).sum(1)
    assert width.min() < 0.5 * width.max()


@pytest.mark.parametrize("character", ["elephant", "snake"])
def test_characters_face_the_way_they_go(character: str) -> None:
    left, right = (film(character, motion, "moon", 1) for motion in ("left", "right"))
    assert not torch.equal(left.masks, right.masks)
    centred = [
        torch.roll(clip.masks[0, 0], int(64 - centres(clip.masks)[0, 0].round()), 1)
        for clip in (left, right)
    ]
    same = (centred[0] - centred[1]).abs().mean()
    mirrored = centred[1].flip(1)
    nearest = min((torch.roll(mirrored, k, 1) - centred[0]).abs().mean() for k in (0, 1, 2))
    assert nearest < 0.3 * same


def test_frames_are_the_background_but_for_the_characters_and_their_shadows() -> None:
    for seed in range(14):
        clip = sample_clip(seed, 6)
        outside = (clip.masks == 0).expand_as(clip.frames)
        darker = (clip.frames - clip.background)[outside]
        assert darker.max() < 1e-5
        assert (darker.abs() < 1e-5).float().mean() > 0.7


def test_the_background_moves_with_camera_light_and_weather_only() -> None:
    for seed in range(25):
        clip = sample_clip(seed, 6)
        told = set(clip.script.motions[1:])
        moves = clip.script.weather is not None or bool(told & SURROUNDINGS)
        assert bool((clip.background != clip.background[:1]).any()) == moves, clip.script


def test_a_panning_camera_moves_everything_the_other_way() -> None:
    clip = film("horse", "pan-left", "mountains")
    assert torch.allclose(clip.background[0][..., :-4], clip.background[1][..., 4:], atol=1e-3)
    assert torch.allclose(centres(clip.masks).diff(dim=0)[:, 0], torch.tensor(4.0), atol=0.4)


def test_a_zooming_camera_enlarges_everything() -> None:
    masks = film("horse", "zoom", "mountains", 9, seed=3).masks
    assert 1.4 < masks[-1].sum() / masks[0].sum() < 1.03**16.5


def test_night_falls_and_day_breaks() -> None:
    dusk, dawn = (
        film("fox", motion, "meadow", 8).frames.mean((1, 2, 3)) for motion in ("dusk", "dawn")
    )
    assert dusk[0] - dusk[-1] > 0.4 and dawn[-1] - dawn[0] > 0.4


def test_a_companion_is_drawn_beside() -> None:
    alone = Script("cat", "meadow", ("left",) * 4, 4)
    pair = compose(replace(alone, companion="dog", together=True), 4).masks
    columns = (pair[:, 0] > 0.5).any(1).sum(1)
    assert (columns > 1.3 * (compose(alone, 4).masks[:, 0] > 0.5).any(1).sum(1)).all()


def test_captions_change_with_the_motion() -> None:
    clip = next(c for c in (sample_clip(s, 14) for s in range(20)) if c.script.switch < 14)
    assert len(set(clip.captions)) == 2
    assert clip.captions[clip.script.switch] != clip.captions[clip.script.switch - 1]


def test_pictures_weigh_less_than_nine_megabytes() -> None:
    files = Path(artv_cli.storybook.__path__[0]).rglob("*.webp")
    assert sum(file.stat().st_size for file in files) < 9 * MEGABYTE


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
