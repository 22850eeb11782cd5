"""Who can do what, and where: what makes sense in the storybook."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal, get_args

from artv_cli.storybook.characters import CHARACTERS, Gait
from artv_cli.storybook.scenes import SCENES, Medium

Motion = Literal[
    "left", "right", "jump", "up", "down", "still", "sleep", "closer", "away", "spin",
    "pan-left", "pan-right", "zoom", "dusk", "dawn",
]  # fmt: skip

MOTIONS: tuple[Motion, ...] = get_args(Motion)
SURROUNDINGS: frozenset[Motion] = frozenset(("pan-left", "pan-right", "zoom", "dusk", "dawn"))
"""Motions of the camera and of the light, in which the characters stand still."""

_SLEEPLESS: frozenset[Gait] = frozenset(("drive", "ride", "float", "slide"))


def medium(character: str, scene: str) -> Medium | None:
    """Return what a character moves in, in a scene; None where it does not live there."""
    offered = SCENES[scene].media
    return next((m for m in CHARACTERS[character].media if m in offered), None)


def gait_in(character: str, where: Medium | None) -> Gait:
    """Return how a character gets about: a robot floats in space, and a duck on land walks."""
    gait = CHARACTERS[character].gait
    if where == "air" and gait != "float":
        return "fly"
    if where == "space" and gait == "walk":
        return "float"
    if where == "water" and gait == "walk":
        return "swim"
    return "walk" if where == "land" and gait == "swim" else gait


@cache
def motions(character: str, scene: str) -> tuple[Motion, ...]:
    """Return the motions that make sense for a character in a scene, in the order of `MOTIONS`."""
    where = medium(character, scene)
    if where is None:
        return ()
    impossible: set[Motion] = {"jump", "sleep"}
    if where == "land":
        impossible = {"up", "down"}
    elif where == "surface":
        impossible |= {"up", "down"}
    if gait_in(character, where) in _SLEEPLESS:
        impossible.add("sleep")
    if not SCENES[scene].daylight:
        impossible |= {"dusk", "dawn"}
    return tuple(motion for motion in MOTIONS if motion not in impossible)


@cache
def companions(character: str, scene: str) -> tuple[str, ...]:
    """Return who may keep a character company: all others that move in the same medium there."""
    where = medium(character, scene)
    return tuple(c for c in CHARACTERS if c != character and medium(c, scene) == where)


@cache
def held_out(character: str, motion: str, scene: str) -> bool:
    """Tell whether a combination belongs to the tenth of all that training never shows."""
    digest = hashlib.sha256(f"{character} {motion} {scene}".encode()).digest()
    return digest[0] < 26
