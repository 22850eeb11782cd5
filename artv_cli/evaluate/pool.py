"""What the judge learns from: windows of the newest few hundred ground-truth clips.

Composing a clip costs as much as learning from several windows, so every clip stays in memory for
a while and is shown at several offsets, each time disturbed in another way. What a step sees is a
function of the step alone: a stopped training goes on as if it had not been stopped. Nothing is
mirrored: it would swap left and right.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from artv_cli.evaluate.network import STRIDE
from artv_cli.evaluate.truth import WINDOW, Names, labels, sample_truth, window_starts
from artv_cli.storybook.characters import EVERYBODY, Cast
from artv_cli.storybook.world import SIZE

LENGTH = 32  # frames of a clip
CELL = 8  # pixels of the picture for each of the foreground's map


class Batch(NamedTuple):
    """Windows (b, t, 3, h, w) in [-1, 1], labels (b, 3), foreground's shares (b, k, h/8, w/8)."""

    frames: Tensor
    labels: Tensor
    foreground: Tensor


class Examples(Protocol):
    """Where a training gets its batches from."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step: always the same one."""
        ...


class _Kept(NamedTuple):
    frames: Tensor  # (t, 3, h, w) uint8
    foreground: Tensor  # (t, 1, h, w) bool
    names: tuple[Names, ...]
    starts: list[int]


class ClipPool:
    """Draws batches of `size` windows from a cast's `clips` newest clips, `fresh` new each step.

    Of `world` processes that train together, the one of number `rank` has every `world`-th clip.
    """

    def __init__(
        self,
        size: int,
        clips: int,
        fresh: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        cast: Cast = EVERYBODY,
    ) -> None:
        self._size, self._clips, self._fresh = size, clips, fresh
        self._seed, self._rank, self._world, self._cast = seed, rank, world, cast
        self._kept: dict[int, _Kept] = {}

    def batch(self, step: int) -> Batch:
        """Return the windows of a step."""
        newest = 2 * self._size + step * self._fresh  # so that it begins with a few
        here = range(max(0, newest - self._clips), newest)
        self._kept = {index: self._kept.get(index) or self._compose(index) for index in here}
        rng = np.random.default_rng((self._seed, self._rank, step))
        kept = [self._kept[int(index)] for index in rng.choice(here, self._size)]
        starts = [int(rng.choice(clip.starts)) for clip in kept]
        windows = torch.stack([c.frames[s : s + WINDOW] for c, s in zip(kept, starts, strict=True)])
        covered = torch.stack(
            [c.foreground[s : s + WINDOW : STRIDE] for c, s in zip(kept, starts, strict=True)]
        )
        last = [clip.names[start + WINDOW - 1] for clip, start in zip(kept, starts, strict=True)]
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        return Batch(
            disturb(windows.float() / 127.5 - 1, generator),
            torch.stack([labels(names) for names in last]),
            foreground_share(covered),
        )

    def _compose(self, index: int) -> _Kept:
        number = (index * self._world + self._rank) + self._seed * 1_000_003
        truth = sample_truth(number, LENGTH, "train", SIZE, self._cast)
        pixels = ((truth.frames + 1) * 127.5).round().byte()
        return _Kept(pixels, truth.foreground, truth.names, window_starts(truth.names))


def foreground_share(foreground: Tensor) -> Tensor:
    """Return which share of each cell (b, k, h/8, w/8) a foreground (b, k, 1, h, w) covers."""
    return F.avg_pool2d(foreground[:, :, 0].float(), CELL)


def disturb(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Change light and tint of each window (b, t, 3, h, w) at random, soften every other one, and
    add some noise; in place.

    What is judged went through an autoencoder, so it may be softer than any clip of the world.
    """
    count = len(frames)

    def draw(channels: int = 1) -> Tensor:
        return torch.rand(count, 1, channels, 1, 1, generator=generator)

    size = frames.shape[-2:]
    small = F.avg_pool2d(frames[::2].flatten(0, 1), 2)
    soft = F.interpolate(small, size=size, mode="bilinear").view_as(frames[::2])
    light, tint, noise = 0.9 + 0.2 * draw(), 0.1 * (draw() - 0.5) + 0.06 * (draw(3) - 0.5), draw()
    frames[::2].lerp_(soft, draw()[::2])
    # One draw of noise for all windows: drawing it costs more than everything else here.
    grain = torch.randn(1, *frames.shape[1:], generator=generator)
    return frames.mul_(light).add_(tint).addcmul_(grain, 0.05 * noise).clamp_(-1, 1)


def held_out_windows(count: int, cast: Cast = EVERYBODY, seed: int = 0) -> list[Batch]:
    """Return windows of combinations that training never shows, as they are, in batches of one."""
    batches = []
    for index in range(count):
        truth = sample_truth(seed * 1_000_003 + index, LENGTH, "held-out", SIZE, cast)
        starts = window_starts(truth.names)
        window = truth.part(starts[index % len(starts)], starts[index % len(starts)] + WINDOW)
        batches.append(
            Batch(
                window.frames[None],
                labels(window.names[-1])[None],
                foreground_share(window.foreground[None, ::STRIDE]),
            )
        )
    return batches
