"""The judge's network: what it is shown becomes scores for characters, scenes and motions.

Who and where are read from a few frames, each looked at alone: a map of the foreground tells the
character's features from the scene's. What happens is read from all frames at half the size and
their differences, by convolutions over space and time.

Legend: b batch, t frames of a window, k frames looked at closely, h w picture size, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artv_cli.evaluate.truth import PARTS, Part

STRIDE = 4  # of the frames that are looked at closely
GROUPS = 4


class Reading(NamedTuple):
    """Scores before the softmax: (b, classes) of each part; `foreground` (b, k, h/8, w/8)."""

    scores: Mapping[Part, Tensor]
    foreground: Tensor


class JudgeNetwork(nn.Module):
    """Some 350,000 parameters at a width of 32; frames need sides that are multiples of 16."""

    def __init__(self, classes: Mapping[Part, int], width: int = 32) -> None:
        super().__init__()
        d = width
        self.eye = nn.Sequential(
            _block(3, d // 2, 2), _block(d // 2, d, 2), _block(d, 2 * d, 2), _block(2 * d, 2 * d)
        )
        self.foreground = nn.Conv2d(2 * d, 1, 1)
        self.look = nn.Sequential(_block(2 * d, 4 * d, 2), _block(4 * d, 4 * d))
        self.watch = nn.Sequential(
            _block(6, d // 2, (1, 2, 2)), _block(d // 2, d, (2, 2, 2)), _block(d, 2 * d, (2, 2, 2))
        )
        self.heads = nn.ModuleDict({part: nn.Linear(4 * d, classes[part]) for part in PARTS})

    def forward(self, frames: Tensor) -> Reading:
        """Read windows (b, t, 3, h, w) in [-1, 1]."""
        seen = self.see(frames[:, ::STRIDE])
        features = {**self._appearance(*seen), "motion": self._motion(frames)}
        scores = {part: self.heads[part](features[part]) for part in PARTS}
        return Reading(scores, seen[1])

    def see(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (b, k, 2d, h/8, w/8) of each frame and its foreground's scores."""
        shape = frames.shape[:2]
        features = self.eye(frames.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        return features.unflatten(0, shape), self.foreground(features)[:, 0].unflatten(0, shape)

    def _appearance(self, features: Tensor, foreground: Tensor) -> dict[Part, Tensor]:
        """Return what the foreground and the rest look like, (b, 4d) each, over all frames."""
        shape = features.shape[:2]
        looked = self.look(features.flatten(0, 1)).unflatten(0, shape)
        # What the map should be is taught by the ground truth alone, not by what helps to name.
        share = F.avg_pool2d(foreground.detach().float().sigmoid(), 2)[:, :, None]
        return {
            "character": _weighted_mean(looked, share),
            "scene": _weighted_mean(looked, 1 - share),
        }

    def _motion(self, frames: Tensor) -> Tensor:
        small = F.avg_pool2d(frames.flatten(0, 1), 2).unflatten(0, frames.shape[:2])
        before = torch.cat([small[:, :1], small[:, :-1]], 1)
        # Differences are small: they count eightfold, as if they were pictures.
        both = torch.cat([small, 8 * (small - before)], 2).transpose(1, 2)
        watched = self.watch(both).flatten(2)
        return torch.cat([watched.mean(2), watched.amax(2)], 1)


def _block(inputs: int, outputs: int, stride: int | tuple[int, int, int] = 1) -> nn.Sequential:
    """Return convolution, group norm and SiLU, over space and time for three strides."""
    conv: nn.Module
    if isinstance(stride, tuple):
        conv = nn.Conv3d(inputs, outputs, 3, stride, 1)
    else:
        conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
    return nn.Sequential(conv, nn.GroupNorm(GROUPS, outputs), nn.SiLU())


def _weighted_mean(features: Tensor, weight: Tensor) -> Tensor:
    """Average (b, k, c, h, w) over frames and places with weights (b, k, 1, h, w)."""
    total = (features * weight).sum((1, 3, 4))
    return total / (weight.sum((1, 3, 4)) + 1e-3)
