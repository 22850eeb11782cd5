"""What is measured on pictures, as pure functions of tensors.

Frames are (t, 3, h, w) in [-1, 1], regions (t, 1, h, w) bool. Where the region of a generated
character is needed, it is the foreground that the judge sees (`verdict.Judge.foreground`), on
generated frames and on ground truth alike, so that its bias falls out of every ratio. A difference
to the median of the frames would not do: it takes who stands still for background, and calls every
spoilt patch of the background a thing that moved.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PEAK = 2.0  # the range of pixel values
BEST = 99.0  # dB said of equal pictures
TREMBLE = 0.04  # of the range -1 to 1: a smaller change from frame to frame is not motion
LEAST = 0.05  # share of the picture that must be background, or nothing is said about it
Z95 = 1.959964  # the normal deviate of a 95 % interval


def psnr(frames: Tensor, truth: Tensor, region: Tensor | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB, within a region if one is given, at most 99."""
    error = (frames - truth).square().mean(-3, keepdim=True)
    weight = torch.ones_like(error) if region is None else region.expand_as(error).to(error)
    mean = float((error * weight).sum() / weight.sum())
    return BEST if mean == 0 else min(BEST, 10 * math.log10(PEAK**2 / mean))


def background_psnr(
    frame: Tensor, anchor: Tensor, foreground: Tensor, anchor_foreground: Tensor
) -> float | None:
    """Return the PSNR in dB of what is background in both pictures, all (1, ., h, w).

    None where less than a twentieth of the picture is.
    """
    region = ~(foreground | anchor_foreground)
    return psnr(frame, anchor, region) if float(region.float().mean()) >= LEAST else None


def gradient_energy(frames: Tensor, region: Tensor) -> float:
    """Return the mean squared difference of neighbouring pixels within a region; 0 if it is empty.

    A difference counts where both pixels lie in the region.
    """
    down = (frames[..., 1:, :] - frames[..., :-1, :]).square().sum(-3, keepdim=True)
    across = (frames[..., 1:] - frames[..., :-1]).square().sum(-3, keepdim=True)
    within_down = region[..., 1:, :] & region[..., :-1, :]
    within_across = region[..., 1:] & region[..., :-1]
    total = (down * within_down).sum() + (across * within_across).sum()
    return float(total / (within_down.sum() + within_across.sum()).clamp(min=1))


def motion_magnitude(frames: Tensor) -> float:
    """Return the mean absolute change from frame to frame, beyond a tremble; 0 if frozen."""
    change = (frames[1:] - frames[:-1]).abs() - TREMBLE
    return float(change.clamp(min=0).mean()) if len(change) else 0.0


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, `right` of `count` > 0 (JASA 22, 1927)."""
    share, z2 = right / count, Z95**2 / count
    centre = (share + z2 / 2) / (1 + z2)
    reach = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count)) / (1 + z2)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def drift(early: list[bool], late: list[bool]) -> float:
    """Return how many points of accuracy are lost between two looks at the same stories."""
    return 100 * (sum(early) / len(early) - sum(late) / len(late))
