"""Characters as they are drawn: sprites pasted by their poses, and their shadows."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from artv_cli.storybook.motion import PERIOD, Pose

SPRITE = 96  # pixels a side


def draw(character: str, path: list[Pose], size: tuple[int, int]) -> Tensor:
    """Return a character in each of its poses: (t, 4, h, w) in [0, 1], premultiplied by alpha.

    The sprites are first reduced to the largest size that the path shows, antialiased; the warp
    itself then only halves them at most.
    """
    height, width = size
    strip = _sprite(character)
    sprites = strip[[pose.phase * len(strip) // PERIOD % len(strip) for pose in path]].float() / 255
    side = min(SPRITE, math.ceil(max(pose.size for pose in path) * height))
    sprites = F.interpolate(sprites, size=(side, side), mode="bilinear", antialias=True)
    sprites = F.pad(sprites, (2, 2, 2, 2))  # a transparent rim: edges stay soft when magnified
    rim = side / (side + 4)
    theta = torch.tensor([_inverse(pose, height, width) for pose in path]) * rim
    grid = F.affine_grid(theta, [len(path), 4, height, width], align_corners=False)
    return F.grid_sample(sprites, grid, align_corners=False)


@cache
def _sprite(name: str) -> Tensor:
    """Return a character's cycle, (n, 4, 96, 96) uint8 with premultiplied alpha."""
    folder = resources.files("artv_cli.storybook") / "sprites"
    with (folder / f"{name.replace(' ', '-')}.webp").open("rb") as stream:
        strip = np.asarray(Image.open(stream).convert("RGBA"), dtype=np.uint8)
    cycle = torch.from_numpy(strip.copy()).unfold(1, SPRITE, SPRITE).permute(1, 2, 0, 3).float()
    cycle[:, :3] *= cycle[:, 3:] / 255
    return cycle.round().byte()


def _inverse(pose: Pose, height: int, width: int) -> list[list[float]]:
    """Return the affine map from the picture's coordinates (-1 to 1) to the sprite's."""
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    across = width / height / pose.size / pose.stretch
    down = 1 / pose.size / pose.squash
    x, y = 2 * pose.x - 1, 2 * pose.y - 1
    a, b = cos * across, sin * down
    c, d = -sin * across, cos * down
    return [[a, b, -(a * x + b * y)], [c, d, -(c * x + d * y)]]


def shadows(path: list[Pose], size: tuple[int, int]) -> Tensor:
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
