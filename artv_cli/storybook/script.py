"""What happens in a clip, drawn from a seed: who does what, where, and in which weather."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from artv_cli.storybook.characters import CHARACTERS, EVERYBODY, Cast
from artv_cli.storybook.repertoire import (
    SURROUNDINGS,
    Motion,
    companions,
    held_out,
    medium,
    motions,
)
from artv_cli.storybook.scenes import SCENES, Weather

Split = Literal["train", "held-out"]
Pace = Literal["slowly", "steadily", "quickly"]


@dataclass(frozen=True)
class Script:
    """What happens in a clip: who, where, and the motion of each frame.

    `switch` is the first frame of the second motion; it equals the length where there is none.
    A `companion` does the same where they are `together`, and else stands by. `pace` is that of
    the characters' journeys.
    """

    character: str
    scene: str
    motions: tuple[Motion, ...]
    switch: int
    companion: str | None = None
    together: bool = False
    weather: Weather | None = None
    pace: Pace = "steadily"


@cache
def _combinations(
    split: Split, cast: Cast
) -> dict[str, tuple[tuple[str, tuple[Motion, ...]], ...]]:
    """Return for each of a cast its scenes, with the motions there that belong to a split."""
    return {c: places for c in CHARACTERS if c in cast and (places := _places(c, split))}


def _places(character: str, split: Split) -> tuple[tuple[str, tuple[Motion, ...]], ...]:
    places = (
        (s, tuple(m for m in motions(character, s) if _belongs(character, m, s, split)))
        for s in SCENES
    )
    return tuple((scene, possible) for scene, possible in places if possible)


def _belongs(character: str, motion: Motion, scene: str, split: Split) -> bool:
    """Tell whether a clip of a split may show a motion.

    Who stands still can be seen wherever the camera moves or the light changes, so nobody is judged
    by it.
    """
    if split == "train":
        return not held_out(character, motion, scene)
    return motion != "still" and held_out(character, motion, scene)


def sample_script(seed: int, length: int, split: Split = "train", cast: Cast = EVERYBODY) -> Script:
    """Draw who does what where in `length` frames: uniformly of a cast, then scene, motions.

    A scene in which few live is drawn more often by those, or hardly a clip would show it. Half of
    the clips of six frames or more change their motion somewhere in the middle. A fifth has a
    second character, a fifth has weather, and a fifth of the journeys another pace.
    """
    rng = random.Random(f"script {seed}")
    combinations = _combinations(split, cast)
    character = rng.choice(list(combinations))
    places = combinations[character]
    scene, possible = rng.choices(places, [_rarity(scene, cast) for scene, _ in places])[0]
    first = _pick(possible, rng)
    others = [motion for motion in possible if motion != first and _may_follow(motion, first)]
    switch = length
    if others and length >= 6 and rng.random() < 0.5:
        switch = rng.randint(length // 3, length - length // 3)
    second = _pick(others, rng) if switch < length else first
    told = {first, second}
    companion, together = _company(character, scene, told, split, cast, rng)
    weather = None
    if not told & SURROUNDINGS and SCENES[scene].weathers and rng.random() < 0.33:
        weather = rng.choice(SCENES[scene].weathers)
    pace: Pace = "steadily"
    if rng.random() < 0.2:
        pace = "slowly" if rng.random() < 0.5 else "quickly"
    deeds = (first,) * switch + (second,) * (length - switch)
    return Script(character, scene, deeds, switch, companion, together, weather, pace)


@cache
def _rarity(scene: str, cast: Cast) -> float:
    """Return the weight of a scene among those of a character."""
    inhabitants = sum(medium(character, scene) is not None for character in cast)
    return 1 / math.sqrt(inhabitants)


def _pick(possible: Sequence[Motion], rng: random.Random) -> Motion:
    """Draw a motion; those of camera and light less often, since they are alike for everybody."""
    weights = [0.5 if motion in SURROUNDINGS else 1.0 for motion in possible]
    return rng.choices(possible, weights)[0]


def _may_follow(motion: Motion, first: Motion) -> bool:
    """Tell whether a motion fits after another: a day can only break after nightfall."""
    return motion != "dawn" or first == "dusk"


def _company(
    character: str, scene: str, told: set[Motion], split: Split, cast: Cast, rng: random.Random
) -> tuple[str | None, bool]:
    """Draw a companion in a fifth of the clips; what it does belongs to the split as well."""
    if rng.random() >= 0.2:
        return None, False
    together = rng.random() < 0.5 or bool(told & SURROUNDINGS)
    deeds = told if together else {"still"}
    there = [
        companion
        for companion in companions(character, scene)
        if companion in cast
        and deeds <= set(motions(companion, scene))
        and not any(held_out(companion, deed, scene) for deed in deeds if split == "train")
    ]
    return (rng.choice(there), together) if there else (None, False)
