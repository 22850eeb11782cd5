"""Backgrounds of the storybook: painted and photographed ones, cropped, and procedural ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from artv_cli.storybook.canvas import Canvas, colour_of, uniform
from artv_cli.storybook.looks import LOOKS, Layer, Look, Outline
from artv_cli.storybook.scenes import SCENES, Weather

PAINTED = 0.4  # the share of painted and photographed pictures, where there are any


@dataclass(frozen=True)
class Backdrop:
    """A background: `picture` (3, h, w) in [0, 1]; `sky` and `water` (1, h, w), where these show.

    Of a painting nobody knows where its sky and its water are: both are 0.
    """

    picture: Tensor
    sky: Tensor
    water: Tensor


def background(
    scene: str,
    size: tuple[int, int],
    generator: Generator,
    weather: Weather | None = None,
    wide: float = 1.0,
) -> Backdrop:
    """Return one picture of a scene, `wide` times as wide as a view of `size` (h, w).

    Two in five pictures are painted where paintings exist and the weather does not need to know
    where the sky is; each is mirrored and tinted at random.
    """
    height, width = size[0], round(size[1] * wide)
    paintings = _paintings(scene)
    if paintings and weather in (None, "snow", "rain") and uniform(generator) < PAINTED:
        chosen = paintings[int(uniform(generator) * len(paintings))]
        nothing = torch.zeros(1, height, width)
        drop = Backdrop(_crop(chosen, (height, width), generator), nothing, nothing)
    else:
        canvas = Canvas((height, width), wide, generator)
        _paint(canvas, scene, drifting=weather == "clouds")
        drop = Backdrop(canvas.picture, canvas.sky, canvas.water)
    if uniform(generator) < 0.5:
        drop = Backdrop(drop.picture.flip(-1), drop.sky.flip(-1), drop.water.flip(-1))
    tint = 1 + 0.03 * torch.randn(3, 1, 1, generator=generator).clamp(-2, 2)
    return Backdrop((drop.picture * tint).clamp(0, 1), drop.sky, drop.water)


@cache
def _paintings(scene: str) -> tuple[Tensor, ...]:
    folder = resources.files("artv_cli.storybook") / "scenes"
    names = sorted(f.name for f in folder.iterdir() if f.name.startswith(f"{scene}-"))
    return tuple(_read(folder / name) for name in names)


def _read(file: resources.abc.Traversable) -> Tensor:
    with file.open("rb") as stream:
        pixels = np.asarray(Image.open(stream).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def _crop(painting: Tensor, size: tuple[int, int], generator: Generator) -> Tensor:
    height, width = painting.shape[1:]
    ratio = size[1] / size[0]
    down = int(min(height * uniform(generator, 0.8, 1.0), width / ratio))
    across = int(down * ratio)
    top = int((height - down) * uniform(generator))
    left = int((width - across) * uniform(generator))
    window = painting[None, :, top : top + down, left : left + across]
    return F.interpolate(window, size=size, mode="bilinear", antialias=True)[0]


def _paint(canvas: Canvas, scene: str, drifting: bool) -> None:
    look, horizon = LOOKS[scene], SCENES[scene].horizon
    top, low = map(colour_of, look.sky)
    depth = (canvas.rows / max(horizon, 0.3)).clamp(0, 1) * torch.ones_like(canvas.columns)
    canvas.picture = top + (low - top) * depth
    _sky(canvas, look, drifting)
    for layer in look.layers:
        _stand(canvas, layer, horizon)
    if horizon < 1:
        _ground(canvas, look, horizon)
    if look.feature == "barn":
        _barn(canvas, horizon)
    elif look.feature == "craters":
        _craters(canvas, horizon)
    elif look.feature == "cave":
        _cave(canvas, horizon)
    elif look.feature == "planet":
        _planet(canvas)


def _sky(canvas: Canvas, look: Look, drifting: bool) -> None:
    if look.stars:
        canvas.picture = canvas.picture + _stars(canvas)
    if look.light is not None:
        x, y = canvas.uniform(0.15, canvas.wide - 0.15), canvas.uniform(0.12, 0.3)
        distance = ((canvas.columns - x) ** 2 + (canvas.rows - y) ** 2).sqrt()
        colour, radius = colour_of(look.light[0]), look.light[1]
        glow = 0.35 * torch.exp(-distance / (1.5 * radius))
        canvas.tint(colour, (glow + canvas.edge(radius - distance)).clamp(0, 1))
    if look.clouds and not drifting:
        cover = (canvas.noise((9, 5)) - 0.7) * 1.2 * look.clouds
        canvas.tint(torch.ones(3, 1, 1), cover.clamp(0, 0.85))


def _stars(canvas: Canvas) -> Tensor:
    bright = torch.rand(1, 1, *canvas.size, generator=canvas.generator)
    points = (bright > 0.996) * torch.rand(1, 1, *canvas.size, generator=canvas.generator)
    kernel = torch.tensor([[0.1, 0.4, 0.1], [0.4, 1.0, 0.4], [0.1, 0.4, 0.1]])
    return F.conv2d(points.float(), kernel[None, None], padding=1)[0]


def _stand(canvas: Canvas, layer: Layer, horizon: float) -> None:
    """Draw a layer's outline, filled down to the horizon."""
    outline = layer.height * _outline(layer.outline, canvas)
    cover = canvas.edge(canvas.rows - (horizon - outline))
    colour = colour_of(layer.colour)
    if layer.outline == "houses":
        pane = ((canvas.columns * 16) % 1 > 0.5) & ((canvas.rows * 12) % 1 > 0.5)
        colour = colour * (0.94 + 0.35 * outline) * (1 + 0.1 * pane.float())
    canvas.lay(colour, cover, layer.water)
    if layer.outline == "peaks":
        jagged = 0.03 * canvas.noise((2, 24))[:1]
        snow = canvas.edge(horizon - 0.6 * layer.height + jagged - canvas.rows)
        canvas.tint(torch.full((3, 1, 1), 0.97), cover * snow)


def _outline(kind: Outline, canvas: Canvas) -> Tensor:
    """Return the height of an outline over the width, (w,), about 0 to 1."""
    columns = canvas.columns[0]
    if kind == "band":
        return torch.ones_like(columns)
    if kind == "hills":
        return (0.55 + 0.3 * canvas.noise((2, 5))[0]).clamp(0.05, 1.2)
    count = 4 if kind == "peaks" else 9
    spread = canvas.many(count)
    tall = 0.55 + 0.45 * canvas.many(count)
    if kind == "houses":
        return tall[(columns * (count - 1) + spread[0]).long().clamp(max=len(tall) - 1)]
    centre = (torch.arange(len(spread)) + spread) / count
    steep = 2.2 if kind == "peaks" else 5.5
    cones = tall[:, None] - steep * (columns[None, :] - centre[:, None]).abs()
    return cones.amax(0).clamp(0.12, 1)


def _ground(canvas: Canvas, look: Look, horizon: float) -> None:
    near, far = colour_of(look.ground[1]), colour_of(look.ground[0])
    depth = ((canvas.rows - horizon) / (1 - horizon)).clamp(0, 1)
    texture = 1 + 0.035 * canvas.noise(look.grain)
    colour = (far + (near - far) * depth) * texture
    canvas.lay(colour, canvas.edge(canvas.rows - horizon), look.sea)
    if look.stream is not None:
        blue, top, bottom = look.stream
        bend = 0.025 * canvas.noise((2, 4))[0]
        bank = torch.minimum(canvas.rows - top - bend, bottom + bend - canvas.rows)
        canvas.tint(colour_of("d8cf9a"), canvas.edge(bank + 0.012))
        canvas.lay(colour_of(blue) * texture, canvas.edge(bank), water=True)


def _barn(canvas: Canvas, horizon: float) -> None:
    """A red barn with a white door, and a fence before it."""
    x, foot, half = canvas.uniform(0.14, canvas.wide - 0.14), horizon + 0.05, 0.12
    aside = (canvas.columns - x).abs()
    wall, ridge = foot - 0.14, foot - 0.25
    fence = ((canvas.columns * 14) % 1 < 0.25).float() * canvas.edge(canvas.rows - foot + 0.06)
    rail = canvas.edge(0.006 - (canvas.rows - foot + 0.04).abs())
    fence = torch.maximum(fence, rail) * canvas.edge(foot - canvas.rows)
    canvas.lay(colour_of("f3eee2"), fence)
    roof = torch.minimum(half + 0.02 - aside, (wall - ridge) * (1 - aside / (half + 0.02)))
    body = torch.minimum(half - aside, torch.minimum(canvas.rows - wall, foot - canvas.rows))
    canvas.lay(colour_of("b5352c"), canvas.edge(body))
    over = torch.minimum(roof + canvas.rows - wall, wall - canvas.rows)
    canvas.lay(colour_of("6b3a36"), canvas.edge(over))
    door = torch.minimum(0.045 - aside, torch.minimum(canvas.rows - foot + 0.1, foot - canvas.rows))
    canvas.lay(colour_of("f3eee2"), canvas.edge(door))


def _craters(canvas: Canvas, horizon: float) -> None:
    places = zip(canvas.many(7), canvas.many(7), canvas.many(7), strict=True)
    for x, down, width in places:
        y = horizon + 0.06 + (0.94 - horizon) * float(down)
        radius = (0.03 + 0.05 * float(width)) * (0.4 + 1.2 * (y - horizon))
        across, along = (canvas.columns - x * canvas.wide) / 2.2, canvas.rows - y
        distance = (across**2 + along**2).sqrt()
        canvas.tint(torch.full((3, 1, 1), 0.78), 0.6 * canvas.edge(radius - distance))
        hollow = (across**2 + (along - 0.2 * radius) ** 2).sqrt()
        canvas.tint(torch.full((3, 1, 1), 0.42), 0.7 * canvas.edge(0.82 * radius - hollow))


def _cave(canvas: Canvas, horizon: float) -> None:
    """Rough walls, and stalactites that hang from above."""
    wall = 1 + 0.13 * canvas.noise((12, 9)) * canvas.edge(horizon - canvas.rows)
    canvas.picture = canvas.picture * wall
    for colour, reach in (("3a2f49", 0.36), ("211a2e", 0.22)):
        hanging = reach * _outline("pines", canvas)
        canvas.lay(colour_of(colour), canvas.edge(hanging - canvas.rows))
    canvas.sky = torch.zeros_like(canvas.sky)


def _planet(canvas: Canvas) -> None:
    nebula = canvas.noise((4, 4)).clamp(0, 2) * 0.12
    canvas.picture = canvas.picture + nebula * torch.rand(3, 1, 1, generator=canvas.generator)
    x, y = canvas.uniform(0, canvas.wide), canvas.uniform()
    radius = canvas.uniform(0.06, 0.16)
    distance = ((canvas.columns - x) ** 2 + (canvas.rows - y) ** 2).sqrt()
    shade = 1 - ((canvas.columns - x) + (canvas.rows - y)) / (3 * radius)
    colour = 0.3 + 0.5 * torch.rand(3, 1, 1, generator=canvas.generator)
    canvas.lay(colour * shade, canvas.edge(radius - distance))
