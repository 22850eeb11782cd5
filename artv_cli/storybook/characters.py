"""Who lives in the storybook: the characters that pictures and captions share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from artv_cli.storybook.scenes import Medium

Facing = Literal["left", "right", "front", "up-right"]
Gait = Literal["walk", "hop", "drive", "ride", "fly", "float", "swim", "sail", "slide", "crawl"]

Cast: TypeAlias = frozenset[str]  # names of characters
BIG, LITTLE = 1.06, 0.94  # sizes from which on, and up to which, a character is called so


@dataclass(frozen=True)
class Character:
    """A character: what it is called, how its sprite faces, how and where it moves.

    `words` are its name and synonyms; `media` are tried in this order when it enters a scene;
    `size` is relative to the others; `colours` are those that may be said of its sprite.
    """

    words: tuple[str, ...]
    gait: Gait
    media: tuple[Medium, ...]
    facing: Facing = "left"
    size: float = 1.0
    colours: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file name of its sprite and its key in `CHARACTERS`."""
        return self.words[0]


_LAND: tuple[Medium, ...] = ("land",)
_AIR: tuple[Medium, ...] = ("air",)
_WATER: tuple[Medium, ...] = ("water",)
_BOTH: tuple[Medium, ...] = ("land", "water")
_POND: tuple[Medium, ...] = ("surface", "land")
_SURFACE: tuple[Medium, ...] = ("surface",)
_DEEP: tuple[Medium, ...] = ("water", "surface")
_ORBIT: tuple[Medium, ...] = ("space", "air")
_ASTRONAUT: tuple[Medium, ...] = ("land", "space")

_CHARACTERS = (
    # Pets and the farm
    Character(("cat", "kitty", "kitten"), "walk", _LAND, size=0.94, colours=("orange",)),
    Character(("dog", "puppy"), "walk", _LAND, size=0.96, colours=("brown",)),
    Character(("rabbit", "bunny", "hare"), "hop", _LAND, size=0.92, colours=("white",)),
    Character(("mouse",), "walk", _LAND, size=0.9, colours=("grey",)),
    Character(("horse", "pony"), "walk", _LAND, size=1.06, colours=("brown",)),
    Character(("cow",), "walk", _LAND, size=1.04),
    Character(("pig", "piglet"), "walk", _LAND, colours=("pink",)),
    Character(("sheep", "lamb"), "walk", _LAND, colours=("white",)),
    Character(("rooster", "hen"), "walk", _LAND, size=0.94),
    Character(("chick", "chicken"), "walk", _LAND, size=0.9, colours=("yellow",)),
    # The wild
    Character(("elephant",), "walk", _LAND, size=1.12, colours=("grey",)),
    Character(("tiger",), "walk", _LAND, size=1.08, colours=("orange",)),
    Character(("giraffe",), "walk", _LAND, size=1.12, colours=("yellow",)),
    Character(("zebra",), "walk", _LAND, size=1.02),
    Character(("camel",), "walk", _LAND, size=1.06, colours=("brown",)),
    Character(("kangaroo",), "hop", _LAND, size=1.02, colours=("brown",)),
    Character(("monkey", "ape"), "walk", _LAND, colours=("brown",)),
    Character(("deer", "stag"), "walk", _LAND, size=1.02, colours=("brown",)),
    Character(("squirrel",), "walk", _LAND, size=0.92, colours=("brown",)),
    Character(("hedgehog",), "walk", _LAND, size=0.94, colours=("brown",)),
    Character(("snail",), "crawl", _LAND, size=0.9, colours=("brown",)),
    Character(("snake",), "crawl", _LAND, "right", 0.96, colours=("green",)),
    Character(("turtle", "tortoise"), "walk", _BOTH, colours=("green",)),
    Character(("crab",), "walk", _BOTH, "front", 0.94, ("pink",)),
    Character(("flamingo",), "walk", _LAND, colours=("pink",)),
    Character(("penguin",), "walk", _LAND, "front"),
    Character(("dinosaur", "dino"), "walk", _LAND, size=1.12, colours=("green",)),
    # Heads alone
    Character(("fox",), "walk", _LAND, "front", 0.96, ("orange", "red")),
    Character(("wolf",), "walk", _LAND, "front", 0.96, ("grey",)),
    Character(("bear", "teddy"), "walk", _LAND, "front", 0.96, ("brown",)),
    Character(("panda", "panda bear"), "walk", _LAND, "front", 0.96),
    Character(("lion",), "walk", _LAND, "front", 1.02),
    Character(("frog", "toad"), "hop", _LAND, "front", 0.92, ("green",)),
    Character(("unicorn",), "walk", _LAND, size=1.02, colours=("purple",)),
    # People, and those who are almost
    Character(("man", "boy", "person"), "walk", _LAND, size=1.06),
    Character(("dancer", "woman", "girl"), "walk", _LAND, "front", 1.04),
    Character(("santa",), "walk", _LAND, "front", 0.98),
    Character(("robot",), "walk", _ASTRONAUT, "front", 0.96),
    Character(("alien",), "walk", _ASTRONAUT, "front", 0.96, ("green",)),
    Character(("ghost",), "float", _LAND, "front", 0.98, ("white",)),
    Character(("snowman",), "slide", _LAND, "front", 0.98, ("white",)),
    Character(("pumpkin",), "hop", _LAND, "front", 0.92, ("orange",)),
    # On wheels
    Character(("car", "automobile"), "drive", _LAND, colours=("red",)),
    Character(("taxi", "cab"), "drive", _LAND, colours=("yellow",)),
    Character(("police car",), "drive", _LAND, colours=("black",)),
    Character(("ambulance",), "drive", _LAND, size=1.04),
    Character(("fire engine", "fire truck"), "drive", _LAND, size=1.06, colours=("red",)),
    Character(("bus", "coach"), "drive", _LAND, size=1.1, colours=("orange",)),
    Character(("truck", "lorry"), "drive", _LAND, size=1.08, colours=("yellow",)),
    Character(("tractor",), "drive", _LAND, size=1.04, colours=("green",)),
    Character(("train", "locomotive"), "drive", _LAND, size=1.1),
    Character(("motorcycle", "motorbike"), "drive", _LAND, colours=("red",)),
    Character(("cyclist", "bicycle", "bike"), "ride", _LAND, size=1.04),
    # In the air and beyond
    Character(("dragon",), "fly", _AIR, size=1.08, colours=("green",)),
    Character(("butterfly",), "fly", _AIR, "front", 0.9, ("orange",)),
    Character(("bee", "bumblebee"), "fly", _AIR, size=0.9),
    Character(("bird",), "fly", _AIR, size=0.9, colours=("red", "pink")),
    Character(("eagle", "hawk"), "fly", _AIR, size=1.02, colours=("brown",)),
    Character(("owl",), "fly", _AIR, "front", 0.94, ("brown",)),
    Character(("bat",), "fly", _AIR, "front", 0.96, ("brown",)),
    Character(("helicopter", "chopper"), "fly", _AIR, colours=("orange",)),
    Character(("airplane", "plane", "aeroplane"), "fly", _AIR, "up-right", colours=("red",)),
    Character(("balloon",), "float", _AIR, "front", 0.94, ("red",)),
    Character(("rocket", "spaceship"), "fly", _ORBIT, "up-right"),
    Character(("ufo", "saucer"), "fly", _ORBIT, "front"),
    # On and under the water
    Character(("duck",), "swim", _POND, size=0.92),
    Character(("swan",), "swim", _POND, colours=("white",)),
    Character(("sailboat", "boat"), "sail", _SURFACE, "front", 1.06, ("orange",)),
    Character(("ship",), "sail", _SURFACE, size=1.1),
    Character(("whale",), "swim", _DEEP, size=1.08, colours=("blue",)),
    Character(("dolphin",), "swim", _DEEP, colours=("blue",)),
    Character(("shark",), "swim", _WATER, size=1.02, colours=("grey",)),
    Character(("fish",), "swim", _WATER, size=0.92, colours=("blue",)),
    Character(("octopus",), "swim", _WATER, "front", colours=("orange",)),
)

CHARACTERS: dict[str, Character] = {character.name: character for character in _CHARACTERS}

EVERYBODY: Cast = frozenset(CHARACTERS)

# Those of a plain build, or of colours that nobody else has: as many as a model that is trained on
# two CPU cores learns to draw.
PLAIN: Cast = frozenset(
    "cat dog horse rabbit elephant penguin turtle cow pig sheep chick tiger giraffe bear panda lion"
    " frog fox robot ghost snowman pumpkin car bus train tractor duck dragon butterfly bird bee"
    " helicopter airplane balloon rocket ufo sailboat whale fish octopus".split()
)
