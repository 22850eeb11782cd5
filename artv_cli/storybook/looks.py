"""How the procedural scenes look: their colours, and what stands on their horizons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outline = Literal["hills", "pines", "houses", "peaks", "band"]
Feature = Literal["barn", "craters", "cave", "planet"]


@dataclass(frozen=True)
class Layer:
    """Something that stands on the horizon: its outline, colour and height (fraction of h).

    A layer of `water` is the sea behind a beach.
    """

    outline: Outline
    colour: str
    height: float
    water: bool = False


@dataclass(frozen=True)
class Look:
    """The recipe of a procedural scene; colours are hexadecimal RGB."""

    sky: tuple[str, str]  # top, horizon
    ground: tuple[str, str]  # horizon, bottom
    layers: tuple[Layer, ...] = ()
    light: tuple[str, float] | None = None  # sun, moon or earth: colour, radius
    clouds: float = 0.0
    stars: bool = False
    grain: tuple[int, int] = (10, 6)  # cells of the ground's texture: down, across
    stream: tuple[str, float, float] | None = None  # colour, top and bottom
    feature: Feature | None = None
    sea: bool = False  # the ground is water


_PINES = (Layer("pines", "3d7d4c", 0.34), Layer("pines", "2c6440", 0.24))
_DUNES = (Layer("hills", "e0b070", 0.16), Layer("hills", "d9a25c", 0.08))

LOOKS: dict[str, Look] = {
    "meadow": Look(
        ("5aa9ee", "cfe9fb"),
        ("86c65a", "57a03c"),
        (Layer("hills", "9bcb8e", 0.2), Layer("hills", "74b562", 0.1)),
        clouds=0.9,
    ),
    "forest": Look(("8ccbe0", "d8f0dc"), ("6a9a4c", "466f33"), _PINES),
    "autumn": Look(
        ("a9cfe4", "f7e6c4"),
        ("d79a45", "b06a2c"),
        (Layer("pines", "d9822f", 0.32), Layer("pines", "b9531f", 0.22)),
    ),
    "snow": Look(
        ("8fb8dd", "e4eff8"),
        ("f4f8fc", "d5e3f0"),
        (Layer("hills", "b7cbe0", 0.22), Layer("pines", "5d8a80", 0.16)),
    ),
    "desert": Look(("6db7ea", "f6e6c0"), ("ecc27a", "d89d50"), _DUNES, ("fff6d0", 0.06)),
    "beach": Look(
        ("57b2f2", "d5effc"),
        ("f2dfa8", "e3c27c"),
        (Layer("band", "2f8fd0", 0.16, water=True),),
        clouds=0.8,
    ),
    "night": Look(
        ("0c1440", "2a3a78"),
        ("22375a", "14233e"),
        (Layer("hills", "1c2c58", 0.18), Layer("hills", "18264a", 0.08)),
        ("f4f0d0", 0.07),
        stars=True,
    ),
    "sunset": Look(
        ("6a4a9c", "ff9a54"),
        ("7a4a58", "4c3048"),
        (Layer("hills", "a55a68", 0.16), Layer("hills", "85485f", 0.08)),
        ("ffe27a", 0.1),
    ),
    "city": Look(
        ("7fbdec", "e3eef5"),
        ("8d929b", "676c76"),
        (Layer("houses", "a9b4c6", 0.46), Layer("houses", "7b8aa3", 0.3)),
        grain=(12, 3),
    ),
    "mountains": Look(
        ("4f97e0", "d3e6f6"),
        ("8fae74", "5f8150"),
        (Layer("peaks", "8797b8", 0.5), Layer("peaks", "62749a", 0.36)),
        clouds=0.6,
    ),
    "farm": Look(
        ("6fb8f0", "e2f1fa"),
        ("d9c069", "b08d3e"),
        (Layer("hills", "8fbe6c", 0.13),),
        clouds=0.7,
        grain=(22, 2),
        feature="barn",
    ),
    "river": Look(
        ("5cace8", "d6edf8"),
        ("7cbd58", "4f9440"),
        (Layer("hills", "86bd96", 0.16), Layer("pines", "4c8d5a", 0.14)),
        clouds=0.7,
        stream=("3c9bdc", 0.53, 0.66),
    ),
    "cave": Look(("2b2238", "5a4763"), ("6d5648", "3d2f30"), grain=(12, 5), feature="cave"),
    "moon": Look(
        ("05060f", "10121f"),
        ("b4b6bd", "7d8088"),
        (Layer("hills", "8e9098", 0.1),),
        ("5f9fe6", 0.1),
        stars=True,
        feature="craters",
    ),
    "sky": Look(("3f8fe6", "bfe0fa"), ("bfe0fa", "bfe0fa"), clouds=1.5),
    "sea": Look(("5db1ee", "d9effb"), ("3a93cf", "1d5c9c"), clouds=0.9, grain=(26, 5), sea=True),
    "underwater": Look(
        ("4fc3e6", "0d4f8f"), ("5a8a94", "3f6d7c"), (Layer("hills", "1b5f8c", 0.1),)
    ),
    "space": Look(("0a0a22", "191238"), ("191238", "191238"), stars=True, feature="planet"),
}
