"""Weather that moves softly over a background that holds still."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from artv_cli.storybook.canvas import smooth_noise
from artv_cli.storybook.scenery import Backdrop
from artv_cli.storybook.scenes import Weather

FLAKES, DROPS = 45, 26
FALL = 12  # pixels that a raindrop falls in a frame, of 128
STREAK = 8  # its length


def under(weather: Weather | None, drop: Backdrop, frames: int, generator: Generator) -> Tensor:
    """Return a background in its weather: (t, 3, h, w) in [0, 1]."""
    if weather is None:
        return drop.picture.expand(frames, *drop.picture.shape)
    time = torch.arange(frames).view(-1, 1, 1)
    if weather == "clouds":
        return _over(drop.picture, 1.0, _clouds(drop, frames, generator))
    if weather == "snow":
        return _over(drop.picture, 1.0, _snow(drop, time, generator))
    if weather == "rain":
        return _over(drop.picture * 0.86, 0.9, _rain(drop, time, generator))
    if weather == "waves":
        return (drop.picture + 0.11 * _waves(drop, time, generator) * drop.water).clamp(0, 1)
    return (drop.picture + _twinkle(drop, time, generator)).clamp(0, 1)


def _over(picture: Tensor, bright: float, cover: Tensor) -> Tensor:
    return picture + (bright - picture) * cover


def _clouds(drop: Backdrop, frames: int, generator: Generator) -> Tensor:
    """Let clouds drift over the sky by a pixel a frame, (t, 1, h, w)."""
    height, width = drop.picture.shape[1:]
    field = smooth_noise((9, 6), (height, width + frames), generator)
    cover = ((field - 0.45) * 1.3).clamp(0, 0.9)
    moved = torch.stack([cover[:, time : time + width] for time in range(frames)])
    return moved[:, None] * drop.sky


def _snow(drop: Backdrop, time: Tensor, generator: Generator) -> Tensor:
    """Let flakes fall and sway, (t, 1, h, w)."""
    height, width = drop.picture.shape[1:]
    x, y, fall, sway = torch.rand(4, FLAKES, generator=generator)
    clock = time[:, 0]
    rows = (y * height + (0.014 + 0.012 * fall) * height * clock) % height
    columns = (x * width + 2 * torch.sin(2 * math.pi * sway + 0.5 * clock)) % width
    flakes = _splash(rows, columns, (height, width))
    kernel = torch.tensor([[0.4, 0.8, 0.4], [0.8, 1.0, 0.8], [0.4, 0.8, 0.4]])
    return F.conv2d(flakes, kernel[None, None], padding=1).clamp(0, 0.95)


def _rain(drop: Backdrop, time: Tensor, generator: Generator) -> Tensor:
    """Let streaks fall aslant, (t, 1, h, w)."""
    height, width = drop.picture.shape[1:]
    x, y = torch.rand(2, DROPS, 1, generator=generator)
    along = torch.arange(STREAK)
    fallen = along + FALL * height / 128 * time
    rows = ((y * height + fallen) % height).flatten(1)
    columns = ((x * width - 0.25 * fallen) % width).flatten(1)
    return 0.5 * _splash(rows, columns, (height, width)).clamp(0, 1)


def _splash(rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """Mark so many points in each frame, (t, n) each: (t, 1, h, w)."""
    marks = torch.zeros(len(rows), size[0] * size[1])
    marks.scatter_(1, rows.long() * size[1] + columns.long(), 1.0)
    return marks.view(len(rows), 1, *size)


def _waves(drop: Backdrop, time: Tensor, generator: Generator) -> Tensor:
    """Let crests run towards us, closer together the further away they are: (t, 1, h, w)."""
    height, width = drop.picture.shape[1:]
    top = float(drop.water[0].amax(1).nonzero()[:1].sum()) / height
    rows = ((torch.arange(height) + 0.5) / height)[:, None]
    depth = (rows - top).clamp(min=0) + 0.06
    bend = 0.9 * smooth_noise((9, 6), (height, width), generator)
    return torch.sin(7 * depth.log() + bend - 0.6 * time)[:, None]


def _twinkle(drop: Backdrop, time: Tensor, generator: Generator) -> Tensor:
    """Let large stars grow bright and fade, each in its own time: (t, 1, h, w)."""
    height, width = drop.picture.shape[1:]
    x, y, phase = torch.rand(3, 16, generator=generator)
    stars = torch.zeros(len(time), height * width)
    shine = 0.5 + 0.5 * torch.sin(2 * math.pi * phase + 0.8 * time[:, 0])
    where = (0.6 * y * height).long() * width + (x * width).long()
    stars.scatter_(1, where.expand(len(time), -1), shine)
    kernel = torch.tensor([[0.15, 0.6, 0.15], [0.6, 1.0, 0.6], [0.15, 0.6, 0.15]])
    return F.conv2d(stars.view(-1, 1, height, width), kernel[None, None], padding=1) * drop.sky
