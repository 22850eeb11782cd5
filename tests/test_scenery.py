"""Backgrounds: every scene can be painted, and each generator paints its own."""

import pytest
import torch

from artv_cli.storybook.looks import LOOKS
from artv_cli.storybook.scenery import background
from artv_cli.storybook.scenes import SCENES


def draw(scene: str, seed: int, wide: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return background(scene, (128, 128), generator, wide=wide).picture


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_paints_pictures_within_range_that_differ_by_seed_only(scene: str) -> None:
    pictures = [draw(scene, seed) for seed in range(6)]
    for picture in pictures:
        assert picture.shape == (3, 128, 128)
        assert picture.isfinite().all() and 0 <= picture.min() and picture.max() <= 1
        assert picture.std() > 0.02
    assert torch.equal(pictures[0], draw(scene, 0))
    assert not torch.equal(pictures[0], pictures[1])


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_has_pictures_wide_enough_for_a_pan(scene: str) -> None:
    assert all(draw(scene, seed, wide=1.3).shape == (3, 128, 166) for seed in range(4))


def test_every_scene_has_a_look() -> None:
    assert set(LOOKS) == set(SCENES)


def test_scenes_are_told_apart_by_their_mean_colours() -> None:
    means = {
        scene: torch.stack([draw(scene, seed) for seed in range(8)]).mean((0, 2, 3))
        for scene in ("night", "snow", "desert", "underwater")
    }
    names = sorted(means)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            assert (means[one] - means[other]).abs().max() > 0.1, (one, other)


def test_sky_and_water_are_where_they_show() -> None:
    drop = background("beach", (64, 64), torch.Generator().manual_seed(0), "waves")
    assert drop.sky[0, :15].min() > 0.9 and drop.sky[0, 40:].max() == 0
    assert drop.water[0, 28:33].min() > 0.5 and drop.water[0, 40:].max() == 0
    assert drop.picture[2, 29:32].mean() > drop.picture[0, 29:32].mean()
