"""Weather: it moves, softly, where it belongs."""

import pytest
import torch

from artv_cli.storybook.scenery import background
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.weather import under


@pytest.mark.parametrize(
    ("scene", "weather"), [(scene.name, w) for scene in SCENES.values() for w in scene.weathers]
)
def test_weather_moves_softly(scene: str, weather: str) -> None:
    generator = torch.Generator().manual_seed(3)
    drop = background(scene, (128, 128), generator, weather)
    frames = under(weather, drop, 4, generator)
    assert frames.shape == (4, 3, 128, 128)
    assert 0 <= frames.min() and frames.max() <= 1
    changes = frames.diff(dim=0).abs().mean((1, 2, 3))
    assert 0 < changes.min() and changes.max() < 0.05


def test_weather_of_the_sky_leaves_the_ground_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    drop = background("meadow", (128, 128), generator, "clouds")
    frames = under("clouds", drop, 3, generator)
    assert torch.equal(frames[0, :, 80:], frames[2, :, 80:])


def test_without_weather_nothing_moves() -> None:
    drop = background("snow", (32, 32), torch.Generator().manual_seed(0))
    frames = under(None, drop, 3, torch.Generator())
    assert torch.equal(frames[0], drop.picture) and torch.equal(frames[0], frames[2])
