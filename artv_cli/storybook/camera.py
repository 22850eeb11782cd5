"""The camera and the light: what part of a wider stage each frame shows, and how bright it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from artv_cli.storybook.motion import STEP, Pose
from artv_cli.storybook.repertoire import Motion

PAN = STEP  # of the width, a frame: who stands still keeps to the grid, and pixels are whole
ZOOM = 1.03  # growth of everything a frame
NIGHTFALL = 6  # frames between full day and night
NIGHT = (0.3, 0.36, 0.62)  # the colour of the night's light


@dataclass(frozen=True)
class View:
    """The part of the stage that a frame shows: its upper left corner and its size.

    In the stage's units, where the first frame shows what lies between 0 and 1, both ways.
    """

    x: float = 0.0
    y: float = 0.0
    size: float = 1.0

    def of(self, pose: Pose) -> Pose:
        """Return a pose as this frame shows it."""
        return replace(
            pose,
            x=(pose.x - self.x) / self.size,
            y=(pose.y - self.y) / self.size,
            ground=(pose.ground - self.y) / self.size,
            size=pose.size / self.size,
        )


def pans(motions: Sequence[Motion]) -> list[float]:
    """Return for each frame how far panning has moved what it shows to the right."""
    shift, shifts = 0.0, [0.0]
    for motion in motions[1:]:
        shift += PAN if motion == "pan-left" else -PAN if motion == "pan-right" else 0.0
        shifts.append(shift)
    return shifts


def views(motions: Sequence[Motion], path: Sequence[Pose]) -> list[View]:
    """Return the view of each frame; a camera that zooms in does so on the pose of that frame."""
    view, seen = View(), [View()]
    for motion, pose in zip(motions[1:], path[1:], strict=True):
        if motion in ("pan-left", "pan-right"):
            view = replace(view, x=view.x + view.size * (PAN if motion == "pan-right" else -PAN))
        elif motion == "zoom":
            part = 1 - 1 / ZOOM
            x, y = min(max(pose.x, 0.2), 0.8), min(max(pose.y, 0.2), 0.8)
            view = View(
                view.x + (x - view.x) * part, view.y + (y - view.y) * part, view.size / ZOOM
            )
        seen.append(view)
    return seen


def extent(seen: Sequence[View]) -> tuple[float, float]:
    """Return the left and right end of the stage that all views together show."""
    return min(view.x for view in seen), max(view.x + view.size for view in seen)


def film(stage: Tensor, seen: Sequence[View], size: tuple[int, int]) -> Tensor:
    """Return what each view shows of a stage (c, h, w') as wide as their extent: (t, c, h, w)."""
    if all(view == View() for view in seen):
        return stage.expand(len(seen), *stage.shape)
    low, high = extent(seen)
    wide = high - low
    theta = torch.tensor(
        [
            [
                [view.size / wide, 0, (2 * (view.x - low) + view.size) / wide - 1],
                [0, view.size, 2 * view.y + view.size - 1],
            ]
            for view in seen
        ]
    )
    grid = F.affine_grid(theta, [len(seen), stage.shape[0], *size], align_corners=False)
    stages = stage.expand(len(seen), *stage.shape)
    return F.grid_sample(stages, grid, padding_mode="border", align_corners=False)


def daylight(motions: Sequence[Motion]) -> list[float]:
    """Return how light it is in each frame, from 1 by day to 0 by night."""
    light = 0.0 if motions[0] == "dawn" else 1.0
    lights = [light]
    for motion in motions[1:]:
        step = {"dusk": -1 / NIGHTFALL, "dawn": 1 / NIGHTFALL}.get(motion, 0.0)
        light = min(max(light + step, 0.0), 1.0)
        lights.append(light)
    return lights


def lit(frames: Tensor, lights: Sequence[float]) -> Tensor:
    """Return frames (t, 3, h, w) in [0, 1] in the light of their hour."""
    if min(lights) == 1:
        return frames
    light = torch.tensor(lights).view(-1, 1, 1, 1)
    night = torch.tensor(NIGHT).view(1, 3, 1, 1)
    return frames * (night + (1 - night) * light)
