"""A procedural world of captioned clips with their ground truth.

`sample_clip(seed, length)` is a pure function: a character moves over a scene that holds still,
and in half of the clips it begins another motion somewhere in the middle, caption and all, so
that a model trained on the clips follows the prompt and not inertia.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from artv_cli.storybook.captions import caption
from artv_cli.storybook.characters import (
    CHARACTERS,
    SCENES,
    Motion,
    medium,
    motions,
)
from artv_cli.storybook.motion import PERIOD, Pose, poses
from artv_cli.storybook.scenery import background

SIZE = (128, 128)  # height, width in pixels
SPRITE = 96  # pixels a side
Split = Literal["train", "held-out"]


@dataclass(frozen=True)
class Script:
    """What happens in a clip: who, where, and the motion of each frame.

    `switch` is the first frame of the second motion; it equals the length where there is none.
    """

    character: str
    scene: str
    motions: tuple[Motion, ...]
    switch: int


@dataclass(frozen=True)
class Clip:
    """A captioned clip and its ground truth.

    `frames` (t, 3, h, w) in [-1, 1]; `captions` one for each frame; `masks` (t, 1, h, w) in
    [0, 1], the character's coverage; `background` (3, h, w) in [-1, 1].
    """

    frames: Tensor
    captions: tuple[str, ...]
    masks: Tensor
    background: Tensor
    script: Script


def held_out(character: str, motion: str, scene: str) -> bool:
    """Tell whether a combination belongs to the tenth of all that training never shows."""
    digest = hashlib.sha256(f"{character} {motion} {scene}".encode()).digest()
    return digest[0] < 26


@cache
def _combinations(split: Split) -> tuple[tuple[str, str, tuple[Motion, ...]], ...]:
    """Return each inhabited (character, scene) with the motions that belong to a split."""
    wanted = split == "held-out"
    places = ((c, s) for c in CHARACTERS for s in SCENES)
    triples = (
        (c, s, tuple(m for m in motions(c, s) if held_out(c, m, s) == wanted)) for c, s in places
    )
    return tuple(triple for triple in triples if triple[2])


def sample_script(seed: int, length: int, split: Split = "train") -> Script:
    """Draw who does what where in `length` frames: characters uniformly, then scene, motions."""
    rng = random.Random(f"script {seed}")
    combinations = _combinations(split)
    character = rng.choice(sorted({c for c, _, _ in combinations}))
    _, scene, possible = rng.choice([x for x in combinations if x[0] == character])
    first = rng.choice(possible)
    others = [motion for motion in possible if motion != first]
    switch = length
    if others and length >= 6 and rng.random() < 0.5:
        switch = rng.randint(length // 3, length - length // 3)
    second = rng.choice(others) if others else first
    return Script(character, scene, (first,) * switch + (second,) * (length - switch), switch)


def sample_clip(
    seed: int, length: int, size: tuple[int, int] = SIZE, split: Split = "train"
) -> Clip:
    """Return the clip of a seed: `length` frames of `size` (h, w) at 8 frames a second."""
    script = sample_script(seed, length, split)
    generator = torch.Generator().manual_seed(seed)
    picture = background(script.scene, size, generator)
    frames, masks = compose(script, picture, random.Random(f"poses {seed}"))
    return Clip(
        frames=frames * 2 - 1,
        captions=_captions(script, random.Random(f"captions {seed}")),
        masks=masks,
        background=picture * 2 - 1,
        script=script,
    )


@cache
def world_digest() -> str:
    """Return a SHA-256, in hexadecimal, of what some dozens of clips are, say and show.

    What was learnt from one world is of no use in another: whoever keeps such a thing keeps this.
    """
    digest = hashlib.sha256()
    for seed in range(64):
        clip = sample_clip(seed, 6, (32, 32))
        digest.update(json.dumps([asdict(clip.script), clip.captions]).encode())
        # In 64 levels: the last bits of a pixel are not the same on every processor.
        digest.update(((clip.frames + 1) * 31.5).round().byte().numpy().tobytes())
    return digest.hexdigest()


def _captions(script: Script, rng: random.Random) -> tuple[str, ...]:
    length = len(script.motions)
    first = caption(script.character, script.motions[0], script.scene, rng)
    if script.switch == length:
        return (first,) * length
    second = caption(
        script.character,
        script.motions[-1],
        script.scene,
        rng,
        continuing=True,
        after=script.motions[0],
    )
    return (first,) * script.switch + (second,) * (length - script.switch)


def compose(script: Script, picture: Tensor, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Draw a script over a background (3, h, w): frames (t, 3, h, w) in [0, 1] and masks."""
    height, width = picture.shape[1:]
    character, scene = CHARACTERS[script.character], SCENES[script.scene]
    where = medium(script.character, script.scene)
    path = poses(script.motions, character, scene, where, rng)
    strip = _sprite(character.name)
    size = max(pose.size for pose in path) * height
    layer = _warp(strip, path, size, (height, width))
    colour, alpha = layer[:, :3], layer[:, 3:]
    ground = picture
    if "land" in scene.media:
        ground = picture * (1 - _shadows(path, (height, width)))
    return (colour + ground * (1 - alpha)).clamp(0, 1), alpha.clamp(0, 1)


@cache
def _sprite(name: str) -> Tensor:
    """Return a character's cycle, (n, 4, 96, 96) uint8 with premultiplied alpha."""
    file = resources.files("artv_cli.storybook") / "sprites" / f"{name}.webp"
    with file.open("rb") as stream:
        strip = np.asarray(Image.open(stream).convert("RGBA"), dtype=np.uint8)
    cycle = torch.from_numpy(strip.copy()).unfold(1, SPRITE, SPRITE).permute(1, 2, 0, 3).float()
    cycle[:, :3] *= cycle[:, 3:] / 255
    return cycle.round().byte()


def _warp(strip: Tensor, path: list[Pose], largest: float, size: tuple[int, int]) -> Tensor:
    """Paste one sprite a pose by an affine warp, (t, 4, h, w) premultiplied in [0, 1].

    The sprites are first reduced to the largest size that the path shows, antialiased; the warp
    itself then only halves them at most.
    """
    height, width = size
    sprites = strip[[pose.phase * len(strip) // PERIOD % len(strip) for pose in path]].float() / 255
    side = min(SPRITE, math.ceil(largest))
    sprites = F.interpolate(sprites, size=(side, side), mode="bilinear", antialias=True)
    sprites = F.pad(sprites, (2, 2, 2, 2))  # a transparent rim: edges stay soft when magnified
    rim = side / (side + 4)
    theta = torch.tensor([_inverse(pose, height, width) for pose in path]) * rim
    grid = F.affine_grid(theta, [len(path), 4, height, width], align_corners=False)
    return F.grid_sample(sprites, grid, align_corners=False)


def _inverse(pose: Pose, height: int, width: int) -> list[list[float]]:
    """Return the affine map from the picture's coordinates (-1 to 1) to the sprite's."""
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    across, down = width / height / pose.size, 1 / pose.size
    x, y = 2 * pose.x - 1, 2 * pose.y - 1
    a, b = cos * across / pose.stretch, sin * down
    c, d = -sin * across / pose.stretch, cos * down
    return [[a, b, -(a * x + b * y)], [c, d, -(c * x + d * y)]]


def _shadows(path: list[Pose], size: tuple[int, int]) -> Tensor:
    """Return soft ellipses under the character, (t, 1, h, w): fainter the higher it is."""
    height, width = size
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width * width / height
    across, down = [], []
    for pose in path:
        strength = 0.45 * math.exp(-3 * max(0.0, pose.ground - pose.feet))
        reach = 0.36 * pose.size * abs(pose.stretch)
        across.append(strength * torch.exp(-(((columns - pose.x * width / height) / reach) ** 4)))
        down.append(torch.exp(-(((rows - pose.ground) / (0.07 * pose.size)) ** 2)))
    return (torch.stack(down)[:, :, None] * torch.stack(across)[:, None, :])[:, None]
