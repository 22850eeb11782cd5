"""Ground truth for judging: the world's clips, cut into windows that show one thing.

The lists of what can be named come from the world's tables. Who does what where is asked of one
character: of two that do the same nobody could tell which one the name stands for, so the clips
here are the world's without companions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Literal, get_args

import torch
from torch import Tensor

from artv_cli.storybook.captions import caption
from artv_cli.storybook.characters import CHARACTERS, EVERYBODY, Cast
from artv_cli.storybook.repertoire import MOTIONS, SURROUNDINGS, Motion, motions
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.script import Script, Split, sample_script
from artv_cli.storybook.world import SIZE, compose

Part = Literal["character", "scene", "motion"]
PARTS: tuple[Part, ...] = get_args(Part)
CLASSES: Mapping[Part, tuple[str, ...]] = {
    "character": tuple(CHARACTERS),
    "scene": tuple(SCENES),
    "motion": tuple(MOTIONS),
}
WINDOW = 16  # frames that the judge looks at
LAG = 4  # frames at the start of a window that may still show the motion before
VISIBLE = 0.1  # of the range -1 to 1: a pixel that differs more from the background is foreground

# Side to side and something in place, over and over: a character that stays in the picture.
_ROUTES: tuple[tuple[Motion, ...], ...] = (("right",), ("left",), ("jump", "spin", "still"))
_BRIEF = ("dusk", "dawn")  # over in a few frames, after which all is still
_STRIDE = 10_007  # clips between which two searches for a clip begin


@dataclass(frozen=True)
class Names:
    """Who does what where."""

    character: str
    scene: str
    motion: str


@dataclass(frozen=True)
class Truth:
    """A clip as the evaluation sees it.

    `frames` (t, 3, h, w) in [-1, 1]; `foreground` (t, 1, h, w) bool, all that is drawn over the
    background, shadows too; `captions` and `names` one for each frame; `at_rest` says that the
    background holds still: camera, light and weather rest.
    """

    frames: Tensor
    foreground: Tensor
    captions: tuple[str, ...]
    names: tuple[Names, ...]
    at_rest: bool

    def part(self, first: int, last: int) -> Truth:
        """Return the frames from `first` up to, not including, `last`."""
        here = slice(first, last)
        return replace(
            self,
            frames=self.frames[here],
            foreground=self.foreground[here],
            captions=self.captions[here],
            names=self.names[here],
        )


def sample_truth(
    seed: int,
    length: int,
    split: Split,
    size: tuple[int, int] = SIZE,
    cast: Cast = EVERYBODY,
) -> Truth:
    """Return the ground truth of a clip of `size` (h, w): a pure function of its arguments."""
    script = _script(seed, length, split, cast)
    clip = compose(script, seed, size)
    differs = (clip.frames - clip.background).abs().amax(1, keepdim=True) > VISIBLE
    return Truth(
        frames=clip.frames,
        foreground=differs | (clip.masks > 0.5),
        captions=clip.captions,
        names=tuple(Names(script.character, script.scene, motion) for motion in script.motions),
        at_rest=_at_rest(script),
    )


def _script(seed: int, length: int, split: Split, cast: Cast) -> Script:
    return replace(sample_script(seed, length, split, cast), companion=None, together=False)


def _at_rest(script: Script) -> bool:
    return script.weather is None and not SURROUNDINGS & {*script.motions}


def find_held_out(
    seed: int,
    length: int,
    size: tuple[int, int],
    suits: Callable[[tuple[str, ...]], bool],
    at_rest: bool = False,
    cast: Cast = EVERYBODY,
) -> Truth:
    """Return the first clip from `seed` on of combinations never trained on, whose motions suit.

    Its first caption says where it happens, so that the scene can be asked of whoever reads it.
    With `at_rest` its background holds still.
    """
    for candidate in count(seed * _STRIDE):
        script = _script(candidate, length, "held-out", cast)
        if suits(script.motions) and (_at_rest(script) or not at_rest):
            truth = sample_truth(candidate, length, "held-out", size, cast)
            if says_where(truth.captions[0], script.scene):
                return truth
    raise AssertionError("a count never ends")


def says_where(text: str, scene: str) -> bool:
    """Tell whether a caption names its scene."""
    return any(phrase in text for phrase in SCENES[scene].phrases + SCENES[scene].along)


def window_starts(names: tuple[Names, ...], window: int = WINDOW) -> list[int]:
    """Return where windows may begin that show the motion of their last frame.

    A window in which the motion switches is labelled by the later part, and only if that begins
    within its first `LAG` frames: as in a story that takes a moment to follow its prompt. What is
    over in a few frames must begin in the window, or nothing of it shows.
    """
    starts = []
    for start in range(len(names) - window + 1):
        lag, last = min(LAG, window - 1), names[start + window - 1]
        is_one = len({*names[start + lag : start + window]}) == 1
        is_over = last.motion in _BRIEF and start > 0 and names[start - 1] == last
        if is_one and not is_over:
            starts.append(start)
    return starts


def labels(names: Names) -> Tensor:
    """Return the index of each part's class (3,), in the order of `PARTS`."""
    return torch.tensor([CLASSES[part].index(getattr(names, part)) for part in PARTS])


def long_captions(names: Names, count: int, seed: int) -> Iterator[str]:
    """Yield `count` prompts of a story in which a character goes to and fro and stays in sight."""
    rng = random.Random(f"long story {seed}")
    before: Motion | None = None
    for motion in islice(to_and_fro(names.character, names.scene), count):
        yield _say(names, motion, before, rng)
        before = motion


def to_and_fro(character: str, scene: str) -> Iterator[Motion]:
    """Yield motions without end that keep a character in the picture, of those it has."""
    possible = motions(character, scene)
    steps = [[motion for motion in route if motion in possible] for route in _ROUTES]
    for index in count():
        route = steps[index % len(steps)]
        yield route[index // len(steps) % len(route)]


def _say(names: Names, motion: Motion, before: Motion | None, rng: random.Random) -> str:
    while True:
        text = caption(
            names.character,
            motion,
            names.scene,
            rng,
            continuing=before is not None,
            after=before,
        )
        if before is not None or says_where(text, names.scene):
            return text
