"""Who lives in the storybook, and where: the tables that pictures and captions share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Facing = Literal["left", "front", "up-right"]
Medium = Literal["land", "air", "surface", "water", "space"]
Gait = Literal["walk", "drive", "fly", "float", "swim", "sail", "slide"]
Motion = Literal["left", "right", "jump", "up", "still", "closer", "away", "spin"]

MOTIONS: tuple[Motion, ...] = ("left", "right", "jump", "up", "still", "closer", "away", "spin")


@dataclass(frozen=True)
class Character:
    """A character: what it is called, how its sprite faces, how and where it moves.

    `words` are its name and synonyms; `media` are tried in this order when it enters a scene;
    `size` is relative to the others.
    """

    words: tuple[str, ...]
    gait: Gait
    media: tuple[Medium, ...]
    facing: Facing = "left"
    size: float = 1.0

    @property
    def name(self) -> str:
        """The file name of its sprite and its key in `CHARACTERS`."""
        return self.words[0]


@dataclass(frozen=True)
class Scene:
    """A scene: phrases that name it, those that only a journey has, and the media that it offers.

    `horizon` is where the ground (or the sea) begins, as a fraction of the height.
    """

    name: str
    phrases: tuple[str, ...]
    along: tuple[str, ...]
    media: tuple[Medium, ...]
    horizon: float = 0.5


_LAND: tuple[Medium, ...] = ("land",)
_AIR: tuple[Medium, ...] = ("air",)

_CHARACTERS = (
    Character(("cat", "kitty"), "walk", _LAND),
    Character(("dog", "puppy"), "walk", _LAND),
    Character(("horse", "pony"), "walk", _LAND, size=1.1),
    Character(("rabbit", "bunny"), "walk", _LAND, size=0.9),
    Character(("elephant",), "walk", _LAND, size=1.15),
    Character(("penguin",), "walk", _LAND, "front"),
    Character(("turtle", "tortoise"), "walk", ("land", "water")),
    Character(("cow",), "walk", _LAND, size=1.1),
    Character(("pig", "piglet"), "walk", _LAND),
    Character(("tiger",), "walk", _LAND, size=1.05),
    Character(("giraffe",), "walk", _LAND, size=1.2),
    Character(("panda", "panda bear"), "walk", _LAND, "front", 0.95),
    Character(("fox",), "walk", _LAND, "front", 0.95),
    Character(("robot",), "walk", ("land", "space"), "front"),
    Character(("snowman",), "slide", _LAND, "front"),
    Character(("car", "automobile"), "drive", _LAND),
    Character(("bus", "coach"), "drive", _LAND, size=1.15),
    Character(("train", "locomotive"), "drive", _LAND, size=1.15),
    Character(("duck",), "swim", ("surface", "land")),
    Character(("dragon",), "fly", _AIR, size=1.15),
    Character(("butterfly",), "fly", _AIR, "front", 0.85),
    Character(("bird",), "fly", _AIR, size=0.85),
    Character(("bee", "bumblebee"), "fly", _AIR, size=0.85),
    Character(("helicopter", "chopper"), "fly", _AIR),
    Character(("airplane", "plane"), "fly", _AIR, "up-right"),
    Character(("balloon",), "float", _AIR, "front", 0.9),
    Character(("rocket", "spaceship"), "fly", ("space", "air"), "up-right"),
    Character(("ufo", "saucer"), "fly", ("space", "air"), "front"),
    Character(("sailboat", "boat"), "sail", ("surface",), "front", 1.15),
    Character(("whale",), "swim", ("water", "surface"), size=1.15),
    Character(("fish",), "swim", ("water",), size=0.9),
    Character(("octopus",), "swim", ("water",), "front"),
)

CHARACTERS: dict[str, Character] = {character.name: character for character in _CHARACTERS}

_OUTDOORS: tuple[Medium, ...] = ("land", "air")

_SCENES = (
    Scene(
        "meadow",
        ("in a meadow", "in the meadow", "on the grass", "in a green field"),
        ("across a meadow", "across the meadow", "over the grass"),
        _OUTDOORS,
        0.48,
    ),
    Scene(
        "forest",
        ("in a forest", "in the forest", "in the woods"),
        ("through a forest", "through the forest", "through the woods"),
        _OUTDOORS,
    ),
    Scene(
        "autumn",
        ("in an autumn forest", "in the autumn woods", "in autumn", "among autumn leaves"),
        ("through the autumn forest",),
        _OUTDOORS,
        0.45,
    ),
    Scene("snow", ("in the snow", "in winter"), ("through the snow", "across the snow"), _OUTDOORS),
    Scene(
        "desert",
        ("in a desert", "in the desert", "among the dunes"),
        ("across the desert", "through a desert"),
        _OUTDOORS,
    ),
    Scene(
        "beach",
        ("on a beach", "on the beach", "at the beach"),
        ("along the beach",),
        _OUTDOORS,
        0.55,
    ),
    Scene(
        "night",
        ("at night", "at night", "under the stars", "in the moonlight"),
        ("through the night",),
        _OUTDOORS,
    ),
    Scene("sunset", ("at sunset", "at sunset", "in the evening"), (), _OUTDOORS, 0.55),
    Scene(
        "city",
        ("in a city", "in the city", "in town"),
        ("through a city", "through the city"),
        _OUTDOORS,
        0.62,
    ),
    Scene(
        "sea",
        ("on the sea", "at sea", "on the water"),
        ("across the sea", "over the waves"),
        ("surface", "air"),
    ),
    Scene(
        "underwater",
        ("underwater", "under water", "in the deep sea"),
        ("through the deep sea",),
        ("water",),
        0.85,
    ),
    Scene(
        "space",
        ("in space", "in outer space", "among the stars"),
        ("through space",),
        ("space",),
        1.0,
    ),
)

SCENES: dict[str, Scene] = {scene.name: scene for scene in _SCENES}


def medium(character: str, scene: str) -> Medium | None:
    """Return what a character moves in, in a scene; None where it does not live there."""
    offered = SCENES[scene].media
    return next((m for m in CHARACTERS[character].media if m in offered), None)


def motions(character: str, scene: str) -> tuple[Motion, ...]:
    """Return the motions that make sense for a character in a scene, in the order of `MOTIONS`."""
    where = medium(character, scene)
    if where is None:
        return ()
    impossible: set[Motion] = {"up"} if where == "land" else {"jump"}
    if where == "surface":
        impossible = {"up", "jump"}
    return tuple(motion for motion in MOTIONS if motion not in impossible)
