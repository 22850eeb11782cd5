"""Backgrounds: every scene can be painted, and each generator paints its own."""

import pytest
import torch

from artv_cli.storybook.characters import SCENES
from artv_cli.storybook.scenery import background


def _draw(scene: str, seed: int) -> torch.Tensor:
    return background(scene, (128, 128), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_paints_pictures_within_range_that_differ_by_seed_only(scene: str) -> None:
    pictures = [_draw(scene, seed) for seed in range(6)]
    for picture in pictures:
        assert picture.shape == (3, 128, 128)
        assert picture.isfinite().all() and 0 <= picture.min() and picture.max() <= 1
        assert picture.std() > 0.02
    assert torch.equal(pictures[0], _draw(scene, 0))
    assert not torch.equal(pictures[0], pictures[1])


def test_scenes_are_told_apart_by_their_mean_colours() -> None:
    means = {
        scene: torch.stack([_draw(scene, seed) for seed in range(8)]).mean((0, 2, 3))
        for scene in ("night", "snow", "desert", "underwater")
    }
    names = sorted(means)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            assert (means[one] - means[other]).abs().max() > 0.1, (one, other)
