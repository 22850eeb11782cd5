"""Where the storybook plays: the scenes, what can move in them, and their weather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Medium = Literal["land", "air", "surface", "water", "space"]
Weather = Literal["clouds", "snow", "rain", "waves", "stars"]


@dataclass(frozen=True)
class Scene:
    """A scene: phrases that name it, those that only a journey has, and the media that it offers.

    `weathers` are those that may move over it; a scene with `daylight` turns to night and back;
    `horizon` is where the ground (or the sea) begins, as a fraction of the height.
    """

    name: str
    phrases: tuple[str, ...]
    along: tuple[str, ...]
    media: tuple[Medium, ...]
    horizon: float = 0.5
    weathers: tuple[Weather, ...] = ()
    daylight: bool = True


_OUTDOORS: tuple[Medium, ...] = ("land", "air")

_SCENES = (
    Scene(
        "meadow",
        ("in a meadow", "in the meadow", "on the grass", "in a green field"),
        ("across a meadow", "across the meadow", "over the grass"),
        _OUTDOORS,
        0.48,
        ("clouds", "rain"),
    ),
    Scene(
        "forest",
        ("in a forest", "in the forest", "in the woods", "among the trees"),
        ("through a forest", "through the forest", "through the woods"),
        _OUTDOORS,
        weathers=("rain",),
    ),
    Scene(
        "autumn",
        ("in an autumn forest", "in the autumn woods", "in autumn", "among autumn leaves"),
        ("through the autumn forest",),
        _OUTDOORS,
        0.45,
        ("rain",),
    ),
    Scene(
        "snow",
        ("in the snow", "in winter"),
        ("through the snow", "across the snow"),
        _OUTDOORS,
        weathers=("snow",),
    ),
    Scene(
        "desert",
        ("in a desert", "in the desert", "among the dunes"),
        ("across the desert", "through a desert"),
        _OUTDOORS,
        weathers=("clouds",),
    ),
    Scene(
        "beach",
        ("on a beach", "on the beach", "at the beach"),
        ("along the beach",),
        _OUTDOORS,
        0.55,
        ("clouds", "waves"),
    ),
    Scene(
        "night",
        ("at night", "at night", "under the stars", "in the moonlight"),
        ("through the night",),
        _OUTDOORS,
        weathers=("stars",),
        daylight=False,
    ),
    Scene(
        "sunset",
        ("at sunset", "at sunset", "in the evening"),
        (),
        _OUTDOORS,
        0.55,
        daylight=False,
    ),
    Scene(
        "city",
        ("in a city", "in the city", "in town"),
        ("through a city", "through the city", "through the town"),
        _OUTDOORS,
        0.62,
        ("clouds", "rain", "snow"),
    ),
    Scene(
        "mountains",
        ("in the mountains", "in the mountains", "near the mountains"),
        ("through the mountains", "over the mountains"),
        _OUTDOORS,
        0.58,
        ("clouds", "snow"),
    ),
    Scene(
        "farm",
        ("on a farm", "on the farm", "near the barn"),
        ("across the farm", "past the barn"),
        _OUTDOORS,
        0.52,
        ("clouds", "rain"),
    ),
    Scene(
        "river",
        ("by a river", "by the river", "at the river"),
        ("along the river", "along a river"),
        _OUTDOORS,
        0.46,
        ("clouds", "waves"),
    ),
    Scene(
        "cave",
        ("in a cave", "in the cave", "in a dark cave"),
        ("through a cave", "through the cave"),
        _OUTDOORS,
        0.42,
        daylight=False,
    ),
    Scene(
        "moon",
        ("on the moon",),
        ("across the moon", "over the moon"),
        ("land", "space"),
        0.55,
        ("stars",),
        daylight=False,
    ),
    Scene(
        "sky",
        ("in the sky", "in the sky", "among the clouds", "in the clouds"),
        ("through the sky", "across the sky", "through the clouds"),
        ("air",),
        1.0,
        ("clouds",),
    ),
    Scene(
        "sea",
        ("on the sea", "at sea", "on the water", "on the ocean"),
        ("across the sea", "over the waves"),
        ("surface", "air"),
        weathers=("clouds", "rain", "waves"),
    ),
    Scene(
        "underwater",
        ("underwater", "under water", "in the deep sea"),
        ("through the deep sea", "through the water"),
        ("water",),
        0.85,
        daylight=False,
    ),
    Scene(
        "space",
        ("in space", "in outer space", "among the stars"),
        ("through space",),
        ("space",),
        1.0,
        ("stars",),
        daylight=False,
    ),
)

SCENES: dict[str, Scene] = {scene.name: scene for scene in _SCENES}
