"""Backgrounds of the storybook: painted ones, cropped at random, and procedural ones.

Every picture is (3, h, w) float32 in [0, 1], a function of the scene's name and a generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from artv_cli.storybook.characters import SCENES

Outline = Literal["hills", "pines", "houses", "band"]


@dataclass(frozen=True)
class Layer:
    """Something that stands on the horizon: its outline, colour and height (fraction of h)."""

    outline: Outline
    colour: str
    height: float


@dataclass(frozen=True)
class Look:
    """The recipe of a procedural scene; colours are hexadecimal RGB."""

    sky: tuple[str, str]  # top, horizon
    ground: tuple[str, str]  # horizon, bottom
    layers: tuple[Layer, ...] = ()
    light: tuple[str, float] | None = None  # sun or moon: colour, radius
    clouds: float = 0.0
    stars: bool = False
    grain: tuple[int, int] = (10, 6)  # cells of the ground's texture: down, across


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
        (Layer("band", "2f8fd0", 0.16),),
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
    "sea": Look(("5db1ee", "d9effb"), ("3a93cf", "1d5c9c"), clouds=0.9, grain=(26, 5)),
    "underwater": Look(
        ("4fc3e6", "0d4f8f"), ("5a8a94", "3f6d7c"), (Layer("hills", "1b5f8c", 0.1),)
    ),
    "space": Look(("0a0a22", "191238"), ("191238", "191238"), stars=True),
}


def background(scene: str, size: tuple[int, int], generator: Generator) -> Tensor:
    """Return one picture of a scene, (3, h, w) in [0, 1]; `size` is (h, w).

    Two in five pictures are painted where paintings exist; each is mirrored and tinted at random.
    """
    paintings = _paintings(scene)
    if paintings and _uniform(generator) < 0.4:
        picture = _crop(paintings[int(_uniform(generator) * len(paintings))], size, generator)
    else:
        picture = _paint(scene, size, generator)
    if _uniform(generator) < 0.5:
        picture = picture.flip(-1)
    tint = 1 + 0.03 * torch.randn(3, 1, 1, generator=generator).clamp(-2, 2)
    return (picture * tint).clamp(0, 1)


@cache
def _paintings(scene: str) -> tuple[Tensor, ...]:
    folder = resources.files("artv_cli.storybook") / "scenes"
    names = sorted(f.name for f in folder.iterdir() if f.name.startswith(f"{scene}-"))
    return tuple(_read(folder / name) for name in names)


def _read(file: resources.abc.Traversable) -> Tensor:
    with file.open("rb") as stream:
        pixels = np.asarray(Image.open(stream).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def _uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _crop(painting: Tensor, size: tuple[int, int], generator: Generator) -> Tensor:
    height, width = painting.shape[1:]
    side = int(height * _uniform(generator, 0.8, 1.0))
    top = int((height - side) * _uniform(generator))
    left = int((width - side) * _uniform(generator))
    window = painting[None, :, top : top + side, left : left + side]
    return F.interpolate(window, size=size, mode="bilinear", antialias=True)[0]


def _colour(value: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(value)), dtype=torch.float32).view(3, 1, 1) / 255


def _noise(cells: tuple[int, int], size: tuple[int, int], generator: Generator) -> Tensor:
    """Return smooth noise around 0, (h, w), with that many cells down and across."""
    grid = torch.randn(1, 1, *cells, generator=generator)
    return F.interpolate(grid, size=size, mode="bicubic")[0, 0]


def _over(canvas: Tensor, colour: Tensor, cover: Tensor) -> Tensor:
    return canvas + (colour - canvas) * cover.clamp(0, 1)


def _paint(scene: str, size: tuple[int, int], generator: Generator) -> Tensor:
    look, horizon = LOOKS[scene], SCENES[scene].horizon
    height, width = size
    rows = ((torch.arange(height) + 0.5) / height)[:, None]
    columns = ((torch.arange(width) + 0.5) / width)[None, :]
    top, low = map(_colour, look.sky)
    canvas = top + (low - top) * (rows / max(horizon, 0.3)).clamp(0, 1) * torch.ones_like(columns)
    canvas = _sky(canvas, look, rows, columns, generator)
    if scene == "space":
        return _planet(canvas, rows, columns, generator)
    for layer in look.layers:
        canvas = _stand(canvas, layer, horizon, rows, columns, generator)
    near, far = _colour(look.ground[1]), _colour(look.ground[0])
    depth = ((rows - horizon) / (1 - horizon)).clamp(0, 1)
    texture = 1 + 0.035 * _noise(look.grain, size, generator)
    ground = (far + (near - far) * depth) * texture
    return _over(canvas, ground, (rows - horizon) * height + 0.5)


def _sky(canvas: Tensor, look: Look, rows: Tensor, columns: Tensor, generator: Generator) -> Tensor:
    size = (canvas.shape[1], canvas.shape[2])
    if look.stars:
        canvas = canvas + _stars(size, generator)
    if look.light is not None:
        x, y = _uniform(generator, 0.15, 0.85), _uniform(generator, 0.12, 0.3)
        distance = ((columns - x) ** 2 + (rows - y) ** 2).sqrt()
        colour, radius = _colour(look.light[0]), look.light[1]
        glow = 0.35 * torch.exp(-distance / (1.5 * radius))
        canvas = _over(canvas, colour, glow + ((radius - distance) * size[0] + 0.5).clamp(0, 1))
    if look.clouds:
        cover = (_noise((9, 5), size, generator) - 0.7) * 1.2 * look.clouds
        canvas = _over(canvas, torch.ones(3, 1, 1), cover.clamp(0, 0.85))
    return canvas


def _stars(size: tuple[int, int], generator: Generator) -> Tensor:
    bright = torch.rand(1, 1, *size, generator=generator)
    points = (bright > 0.996) * torch.rand(1, 1, *size, generator=generator)
    kernel = torch.tensor([[0.1, 0.4, 0.1], [0.4, 1.0, 0.4], [0.1, 0.4, 0.1]])
    return F.conv2d(points.float(), kernel[None, None], padding=1)[0]


def _planet(canvas: Tensor, rows: Tensor, columns: Tensor, generator: Generator) -> Tensor:
    size = (canvas.shape[1], canvas.shape[2])
    nebula = _noise((4, 4), size, generator).clamp(0, 2) * 0.12
    canvas = canvas + nebula * torch.rand(3, 1, 1, generator=generator)
    x, y = _uniform(generator), _uniform(generator)
    radius = _uniform(generator, 0.06, 0.16)
    distance = ((columns - x) ** 2 + (rows - y) ** 2).sqrt()
    shade = 1 - ((columns - x) + (rows - y)) / (3 * radius)
    colour = 0.3 + 0.5 * torch.rand(3, 1, 1, generator=generator)
    return _over(canvas, colour * shade, (radius - distance) * size[0] + 0.5)


def _stand(
    canvas: Tensor,
    layer: Layer,
    horizon: float,
    rows: Tensor,
    columns: Tensor,
    generator: Generator,
) -> Tensor:
    """Draw a layer's outline, filled down to the horizon."""
    height, width = canvas.shape[1:]
    outline = layer.height * _outline(layer.outline, width, columns[0], generator)
    cover = ((rows - (horizon - outline)) * height + 0.5).clamp(0, 1)
    colour = _colour(layer.colour)
    if layer.outline == "houses":
        pane = ((columns * 16) % 1 > 0.5) & ((rows * 12) % 1 > 0.5)
        colour = colour * (0.94 + 0.35 * outline) * (1 + 0.1 * pane.float())
    return _over(canvas, colour, cover)


def _outline(kind: Outline, width: int, columns: Tensor, generator: Generator) -> Tensor:
    """Return the height of an outline over the width, (w,), about 0 to 1."""
    if kind == "band":
        return torch.ones(width)
    if kind == "hills":
        return (0.55 + 0.3 * _noise((1, 5), (1, width), generator)[0]).clamp(0.05, 1.2)
    count = 9
    spread = torch.rand(count, generator=generator)
    tall = 0.55 + 0.45 * torch.rand(count, generator=generator)
    if kind == "houses":
        return tall[(columns * (count - 1) + spread[0]).long()]
    centre = (torch.arange(count) + spread) / count
    cones = tall[:, None] - 5.5 * (columns[None, :] - centre[:, None]).abs()
    return cones.amax(0).clamp(0.12, 1)
