"""A procedural world of captioned clips with their ground truth.

`sample_clip(seed, length)` is a pure function: characters move over a scene, and in half of the
clips they begin another motion somewhere in the middle, caption and all, so that a model trained
on the clips follows the prompt and not inertia.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from artv_cli.storybook.camera import View, daylight, extent, film, lit, pans, views
from artv_cli.storybook.captions import say
from artv_cli.storybook.motion import Pose, poses
from artv_cli.storybook.puppets import draw, shadows
from artv_cli.storybook.scenery import background
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.script import Script, Split, sample_script
from artv_cli.storybook.weather import under

SIZE = (128, 128)  # height, width in pixels
FPS = 8


@dataclass(frozen=True)
class Clip:
    """A captioned clip and its ground truth.

    `frames` (t, 3, h, w) in [-1, 1]; `captions` one for each frame; `masks` (t, 1, h, w) in
    [0, 1], the characters' coverage; `boxes` (t, n, 4) of the main character and its companion as
    x0, y0, x1, y1 in pixels, all 0 where one is out of the picture; `background` (t, 3, h, w) in
    [-1, 1], what each frame would show without characters and shadows.
    """

    frames: Tensor
    captions: tuple[str, ...]
    masks: Tensor
    boxes: Tensor
    background: Tensor
    script: Script


def sample_clip(
    seed: int, length: int, size: tuple[int, int] = SIZE, split: Split = "train"
) -> Clip:
    """Return the clip of a seed: `length` frames of `size` (h, w) at 8 frames a second."""
    return compose(sample_script(seed, length, split), seed, size)


def compose(script: Script, seed: int, size: tuple[int, int] = SIZE) -> Clip:
    """Return a clip of a script; where it plays and how it is told depend on the seed."""
    paths = poses(script, pans(script.motions), random.Random(f"poses {seed}"))
    seen = views(script.motions, paths[0])
    lights = daylight(script.motions)
    bare = _bare(script, seen, size, torch.Generator().manual_seed(seed))
    frames, masks, boxes = _put(script, _seen(paths, seen), bare)
    return Clip(
        frames=lit(frames, lights) * 2 - 1,
        captions=_captions(script, random.Random(f"captions {seed}")),
        masks=masks,
        boxes=boxes,
        background=lit(bare, lights) * 2 - 1,
        script=script,
    )


def _bare(
    script: Script, seen: list[View], size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Return the background of each frame by day, (t, 3, h, w) in [0, 1]."""
    low, high = extent(seen)
    drop = background(script.scene, size, generator, script.weather, high - low)
    if script.weather is not None:
        return under(script.weather, drop, len(seen), generator)
    return film(drop.picture, seen, size)


def _seen(paths: list[list[Pose]], seen: list[View]) -> list[list[Pose]]:
    return [[view.of(pose) for view, pose in zip(seen, path, strict=True)] for path in paths]


def _put(script: Script, paths: list[list[Pose]], bare: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put the characters before the background: frames, masks and boxes."""
    size = (bare.shape[-2], bare.shape[-1])
    names = (script.character, script.companion)
    layers = [
        draw(name, path, size) for name, path in zip(names, paths, strict=False) if name is not None
    ]
    frames, free = bare, torch.ones(1)
    if "land" in SCENES[script.scene].media:
        for path in paths:
            frames = frames * (1 - shadows(path, size))
    for layer in reversed(layers):  # the companion stands behind
        clear = 1 - layer[:, 3:]
        frames, free = layer[:, :3] + frames * clear, free * clear
    boxes = torch.stack([_boxes(layer[:, 3]) for layer in layers], dim=1)
    return frames.clamp(0, 1), (1 - free).clamp(0, 1), boxes


def _captions(script: Script, rng: random.Random) -> tuple[str, ...]:
    first = say(script, 0, rng)
    switched = len(script.motions) - script.switch
    second = say(script, script.switch, rng, continuing=True) if switched else first
    return (first,) * script.switch + (second,) * switched


def _boxes(alpha: Tensor) -> Tensor:
    """Return the bounding boxes (t, 4) of the pixels that a layer's alpha (t, h, w) half covers."""
    boxes = []
    for frame in alpha > 0.5:
        ys, xs = frame.any(1).nonzero()[:, 0], frame.any(0).nonzero()[:, 0]
        boxes.append(
            [int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1] if len(xs) else [0] * 4
        )
    return torch.tensor(boxes)
