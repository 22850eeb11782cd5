"""A picture in the making: colours laid over colours, and where its sky and its water remain."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def colour_of(value: str) -> Tensor:
    """Return a hexadecimal RGB colour as (3, 1, 1) in [0, 1]."""
    return torch.tensor(list(bytes.fromhex(value)), dtype=torch.float32).view(3, 1, 1) / 255


def uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    """Draw a number between `low` and `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def smooth_noise(cells: tuple[int, int], size: tuple[int, int], generator: Generator) -> Tensor:
    """Return smooth noise around 0, (h, w), with that many cells down and across."""
    grid = torch.randn(1, 1, *cells, generator=generator)
    return F.interpolate(grid, size=size, mode="bicubic")[0, 0]


class Canvas:
    """A picture (3, h, w) of `wide` views side by side, with what is needed to paint on it.

    `rows` (h, 1) run from 0 to 1, `columns` (1, w) from 0 to `wide`; `sky` and `water` (1, h, w)
    say where these show.
    """

    def __init__(self, size: tuple[int, int], wide: float, generator: Generator) -> None:
        self.size, self.wide, self.generator = size, wide, generator
        self.rows = ((torch.arange(size[0]) + 0.5) / size[0])[:, None]
        self.columns = ((torch.arange(size[1]) + 0.5) / size[1] * wide)[None, :]
        self.picture = torch.zeros(3, *size)
        self.sky = torch.ones(1, *size)
        self.water = torch.zeros(1, *size)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number between `low` and `high`."""
        return uniform(self.generator, low, high)

    def many(self, count: int) -> Tensor:
        """Draw numbers between 0 and 1: `count` for the width of each view."""
        return torch.rand(round(count * self.wide), generator=self.generator)

    def noise(self, cells: tuple[int, int]) -> Tensor:
        """Return smooth noise (h, w) with so many cells down, and across each view."""
        across = max(2, round(cells[1] * self.wide))
        return smooth_noise((cells[0], across), self.size, self.generator)

    def edge(self, inside: Tensor) -> Tensor:
        """Return a cover that ends softly, over one pixel, where `inside` (heights) is zero."""
        return (inside * self.size[0] + 0.5).clamp(0, 1)

    def tint(self, colour: Tensor, cover: Tensor) -> None:
        """Lay a colour over the picture; what is under it remains what it is."""
        self.picture = self.picture + (colour - self.picture) * cover

    def lay(self, colour: Tensor, cover: Tensor, water: bool = False) -> None:
        """Lay something solid over sky and water; it may be water itself."""
        self.tint(colour, cover)
        self.sky = self.sky * (1 - cover)
        self.water = self.water * (1 - cover) + (cover if water else 0)
