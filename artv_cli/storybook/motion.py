"""How characters move: the pose of each frame, from the motion of each frame.

Lengths are fractions of the picture's height (x: of its width); y grows downward.

Most paths lie on a grid: they begin on one of its lines and step by half a cell. In pictures of
128 pixels a cell is one latent of the autoencoder, so a character comes in few sizes and falls on
its latents in few ways, and a small model learns soon what it looks like.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from artv_cli.storybook.characters import Character, Medium, Motion, Scene

CELL = 1 / 16  # of the grid
STEP = CELL / 2  # how far a character moves in a frame
FREE = 0.1  # the share of paths that keep to no grid: a user's own picture does not either
PERIOD = 8  # frames of one jump, of one turn of a spin, and of an animation cycle
ZOOM = 1.06  # growth a frame of a character that comes closer
TURN = math.pi / 4  # how a sprite that faces up-right is tilted when it flies level or upright


@dataclass(frozen=True)
class Pose:
    """Where and how a character is in one frame.

    (x, y) its centre; `ground` the y of the ground below it; `size` the sprite's side; `angle`
    clockwise in radians; `stretch` the factor of its width after that turn, negative where
    mirrored; `phase` the eighths of its animation cycle that have passed.
    """

    x: float
    y: float
    ground: float
    size: float
    angle: float = 0.0
    stretch: float = 1.0
    phase: int = 0

    @property
    def feet(self) -> float:
        """The y of the sprite's lower edge, where its feet are."""
        return self.y + 0.47 * self.size


def poses(
    motions: Sequence[Motion],
    character: Character,
    scene: Scene,
    where: Medium | None,
    rng: random.Random,
) -> list[Pose]:
    """Return one pose for each frame; the path is placed so that most frames show the character."""
    cell = 0.0 if rng.random() < FREE else CELL
    speed = STEP if cell else rng.uniform(0.9, 1.3) * STEP
    pose = _start(motions, character, scene, where, cell, rng)
    path = [_dress(pose, motions[0], character)]
    since = 0
    for before, motion in zip(motions, motions[1:], strict=False):
        since = since + 1 if motion == before else 1
        pose = _step(pose, motion, speed, where)
        path.append(_dress(_lift(pose, motion, since), motion, character))
    return _place(path, where, cell, rng)


def _start(
    motions: Sequence[Motion],
    character: Character,
    scene: Scene,
    where: Medium | None,
    cell: float,
    rng: random.Random,
) -> Pose:
    size = character.size * (0.42 if cell else rng.uniform(0.36, 0.46))
    if motions[0] == "closer":
        size *= 0.6
    elif motions[0] == "away":
        size *= 1.3
    low, high = max(scene.horizon + 0.18, 0.7), 0.92
    if where == "surface":
        low, high = scene.horizon + 0.14, 0.85
    ground = _to_grid(rng.uniform(low, high), cell)
    y = ground - 0.47 * size if where in ("land", "surface") else 0.5
    left = "left" in motions[:1] or ("right" not in motions[:1] and rng.random() < 0.5)
    return Pose(0.0, y, ground, size, stretch=1.0 if left else -1.0, phase=rng.randrange(PERIOD))


def _step(pose: Pose, motion: Motion, speed: float, where: Medium | None) -> Pose:
    """Return the resting pose of the next frame: what remains when jump and spin are taken away."""
    if motion in ("left", "right"):
        sign = -1 if motion == "left" else 1
        moved = replace(pose, x=pose.x + sign * speed, stretch=float(-sign))
    elif motion == "up":
        moved = replace(pose, y=pose.y - speed)
    elif motion in ("closer", "away"):
        moved = _zoom(pose, ZOOM if motion == "closer" else 1 / ZOOM, where)
    else:
        moved = pose
    return moved if motion == "still" else replace(moved, phase=pose.phase + 1)


def _zoom(pose: Pose, factor: float, where: Medium | None) -> Pose:
    size = min(max(pose.size * factor, 0.14), 0.85)
    if where not in ("land", "surface"):
        return replace(pose, size=size)
    # Perspective: the ground comes down as the character grows.
    ground = min(pose.ground + 0.25 * (size - pose.size), 1.0)
    return replace(pose, size=size, ground=ground, y=ground - 0.47 * size)


def _lift(pose: Pose, motion: Motion, since: int) -> Pose:
    """Add what a jump or a spin does to the resting pose, in its frame number `since`."""
    part = (since % PERIOD) / PERIOD
    if motion == "jump":
        return replace(pose, y=pose.y - _to_grid(0.24 * 4 * part * (1 - part), STEP))
    if motion == "spin":
        width = math.cos(2 * math.pi * part)
        return replace(pose, stretch=pose.stretch * math.copysign(max(abs(width), 0.2), width))
    return pose


def _dress(pose: Pose, motion: Motion, character: Character) -> Pose:
    """Mirror or tilt the sprite by the way in which it faces."""
    if character.facing == "front":
        return replace(pose, stretch=pose.stretch if motion == "spin" else abs(pose.stretch))
    if character.facing == "left":
        return pose
    # The sprite points up-right: it is turned clockwise to fly level, else to stand upright.
    tilt = TURN if motion in ("left", "right") else -TURN
    return replace(pose, angle=tilt, stretch=-pose.stretch)


def _place(path: list[Pose], where: Medium | None, cell: float, rng: random.Random) -> list[Pose]:
    """Move the whole path so that the middle four fifths of its frames lie in the picture."""
    x = _to_grid(_offset([pose.x for pose in path], 0.14, 0.86, rng), cell)
    if where in ("land", "surface"):
        return [replace(pose, x=pose.x + x) for pose in path]
    low, high = (0.25, 0.75) if where != "air" else (0.22, 0.66)
    y = _to_grid(_offset([pose.y for pose in path], low, high, rng), cell)
    return [replace(pose, x=pose.x + x, y=pose.y + y) for pose in path]


def _offset(values: list[float], low: float, high: float, rng: random.Random) -> float:
    ranked = sorted(values)
    cut = len(ranked) // 10
    least, most = low - ranked[cut], high - ranked[-1 - cut]
    return rng.uniform(least, most) if least < most else (least + most) / 2


def _to_grid(value: float, cell: float) -> float:
    return round(value / cell) * cell if cell else value
