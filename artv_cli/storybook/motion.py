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

from artv_cli.storybook.characters import CHARACTERS, Character
from artv_cli.storybook.repertoire import SURROUNDINGS, Motion, medium
from artv_cli.storybook.scenes import SCENES, Medium, Scene
from artv_cli.storybook.script import Pace, Script

CELL = 1 / 16  # of the grid
STEP = CELL / 2  # how far a character moves in a frame
FREE = 0.1  # the share of paths that keep to no grid: a user's own picture does not either
PERIOD = 8  # frames of one jump, of one turn of a spin, and of an animation cycle
JUMP = 0.24  # how high a character jumps
ZOOM = 1.06  # growth a frame of a character that comes closer
TURN = math.pi / 4  # how a sprite that faces up-right is tilted when it flies level or upright
FEET = 0.44  # where a sprite's feet are below its centre, in its side
DOZE = 4  # frames that it takes to fall asleep, and half of them to wake
SPEED: dict[Pace, float] = {"slowly": 0.5, "steadily": 1.0, "quickly": 1.5}  # half steps
SIZE = 0.52  # of a sprite's side, for a character of size 1
TWOSOME = 0.84  # how much smaller two are drawn than one

_AT_REST: frozenset[Motion] = SURROUNDINGS | {"still", "sleep"}


@dataclass(frozen=True)
class Pose:
    """Where and how a character is in one frame.

    (x, y) its centre; `ground` the y of the ground below it; `size` the sprite's side; `angle`
    clockwise in radians; `stretch` the factor of its width after that turn, negative where
    mirrored; `asleep` how deep it sleeps, 0 to 1; `phase` the eighths of its
    animation cycle that have passed.
    """

    x: float
    y: float
    ground: float
    size: float
    angle: float = 0.0
    stretch: float = 1.0
    asleep: float = 0.0
    phase: int = 0

    @property
    def feet(self) -> float:
        """The y of the sprite's feet."""
        return self.y + FEET * self.size * self.squash

    @property
    def squash(self) -> float:
        """The factor of its height: a sleeper lies flat."""
        return 1 - 0.45 * self.asleep


@dataclass(frozen=True)
class _Stage:
    """What all paths of a clip share: where they are, the grid's cell (0: none), and the step."""

    scene: Scene
    where: Medium | None
    cell: float
    step: float

    @property
    def stands(self) -> bool:
        """Whether the characters are carried by something below them."""
        return self.where in ("land", "surface")

    def to_grid(self, value: float) -> float:
        """Return the nearest line of the grid, where there is one."""
        return _nearest(value, self.cell)


def poses(script: Script, pan: Sequence[float], rng: random.Random) -> list[list[Pose]]:
    """Return a path for each character, one pose a frame, the main character's first.

    `pan` is how far a camera has moved everything to the right, for each frame; the paths are
    placed so that most frames show the characters.
    """
    free = rng.random() < FREE
    step = STEP * SPEED[script.pace] * (rng.uniform(0.9, 1.3) if free else 1.0)
    where = medium(script.character, script.scene)
    stage = _Stage(SCENES[script.scene], where, 0.0 if free else CELL, step)
    path = _path(script.motions, CHARACTERS[script.character], stage, rng)
    paths = [path]
    if script.companion is not None:
        still: list[Motion] = ["still" for _ in script.motions]
        deeds = script.motions if script.together else still
        other = _path(deeds, CHARACTERS[script.companion], stage, rng)
        paths = _pair(path, other, script.together, stage, rng)
    return _place(paths, script.motions, stage, pan, rng)


def _path(
    motions: Sequence[Motion], character: Character, stage: _Stage, rng: random.Random
) -> list[Pose]:
    pose = _start(motions[0], character, stage, rng)
    path = [_dress(pose, motions[0], character)]
    since = 0
    for before, motion in zip(motions, motions[1:], strict=False):
        since = since + 1 if motion == before else 1
        pose = _step(pose, motion, stage)
        path.append(_dress(_lift(pose, motion, since), motion, character))
    return path


def _start(motion: Motion, character: Character, stage: _Stage, rng: random.Random) -> Pose:
    size = character.size * (SIZE if stage.cell else rng.uniform(0.9, 1.1) * SIZE)
    if motion == "closer":
        size *= 0.6
    elif motion == "away":
        size *= 1.25
    low, high = max(stage.scene.horizon + 0.2, 0.74), 0.93
    if stage.where == "surface":
        low, high = stage.scene.horizon + 0.2, 0.88
    ground = stage.to_grid(rng.uniform(low, high))
    left = motion == "left" or (motion != "right" and rng.random() < 0.5)
    return Pose(
        x=0.0,
        y=ground - FEET * size,
        ground=ground,
        size=size,
        stretch=1.0 if left else -1.0,
        asleep=1.0 if motion == "sleep" and rng.random() < 0.5 else 0.0,
        phase=rng.randrange(PERIOD),
    )


def _step(pose: Pose, motion: Motion, stage: _Stage) -> Pose:
    """Return the resting pose of the next frame: what remains when jump and spin are taken away."""
    if motion == "sleep":
        return replace(pose, asleep=min(1.0, pose.asleep + 1 / DOZE))
    moved = replace(pose, asleep=max(0.0, pose.asleep - 2 / DOZE))
    if motion in ("left", "right"):
        sign = -1 if motion == "left" else 1
        moved = replace(moved, x=pose.x + sign * stage.step, stretch=float(-sign))
    elif motion in ("up", "down"):
        moved = replace(moved, y=pose.y + (stage.step if motion == "down" else -stage.step))
    elif motion in ("closer", "away"):
        moved = _zoom(moved, ZOOM if motion == "closer" else 1 / ZOOM, stage)
    return moved if motion in _AT_REST else replace(moved, phase=pose.phase + 1)


def _zoom(pose: Pose, factor: float, stage: _Stage) -> Pose:
    size = min(max(pose.size * factor, 0.16), 0.85)
    if not stage.stands:
        return replace(pose, size=size)
    # Perspective: the ground comes down as the character grows.
    ground = min(pose.ground + 0.25 * (size - pose.size), 1.0)
    return replace(pose, size=size, ground=ground, y=ground - FEET * size)


def _lift(pose: Pose, motion: Motion, since: int) -> Pose:
    """Add what a jump, a spin or sleep does to the resting pose, in its frame number `since`."""
    part = (since % PERIOD) / PERIOD
    if motion == "jump":
        return replace(pose, y=pose.y - _nearest(JUMP * 4 * part * (1 - part), STEP))
    if motion == "spin":
        width = math.cos(2 * math.pi * part)
        return replace(pose, stretch=pose.stretch * math.copysign(max(abs(width), 0.2), width))
    return pose


def _dress(pose: Pose, motion: Motion, character: Character) -> Pose:
    """Mirror, tilt or flatten the sprite by the way in which it faces, and by its sleep."""
    if character.facing == "front":
        pose = replace(pose, stretch=pose.stretch if motion == "spin" else abs(pose.stretch))
    elif character.facing == "right":
        pose = replace(pose, stretch=-pose.stretch)
    elif character.facing == "up-right":
        # The sprite points up-right: it is turned clockwise to fly level, else to stand upright.
        tilt = TURN if motion in ("left", "right") else -TURN
        return replace(pose, angle=tilt, stretch=-pose.stretch)
    # Who lies down keeps the feet on the ground.
    return replace(pose, y=pose.y + FEET * pose.size * (1 - pose.squash))


def _pair(
    path: list[Pose], other: list[Pose], together: bool, stage: _Stage, rng: random.Random
) -> list[list[Pose]]:
    """Put a companion beside the main character, a little behind it, and draw both smaller."""
    path, other = _shrink(path), _shrink(other)
    middle = 0.0 if together else (path[0].x + path[-1].x) / 2
    # As far as they will need when they are largest; beyond half the picture they rather overlap.
    widths = sum(max(pose.size for pose in track) for track in (path, other))
    apart = min(0.42 * widths + 0.04, 0.5) * rng.choice((-1, 1))
    x = stage.to_grid(middle + apart)
    back = STEP if stage.cell else rng.uniform(0.03, 0.05)
    down = path[0].ground - other[0].ground - back
    return [
        path,
        [replace(pose, x=pose.x + x, y=pose.y + down, ground=pose.ground + down) for pose in other],
    ]


def _shrink(path: list[Pose]) -> list[Pose]:
    return [
        replace(
            pose,
            size=pose.size * TWOSOME,
            y=pose.y + FEET * pose.size * pose.squash * (1 - TWOSOME),
        )
        for pose in path
    ]


def _place(
    paths: list[list[Pose]],
    motions: Sequence[Motion],
    stage: _Stage,
    pan: Sequence[float],
    rng: random.Random,
) -> list[list[Pose]]:
    """Move all paths so that the middle four fifths of their frames lie in the picture."""
    margin = 0.2 if len(paths) > 1 else 0.24
    across = [pose.x + moved for path in paths for pose, moved in zip(path, pan, strict=True)]
    x = stage.to_grid(_offset(across, margin, 1 - margin, rng))
    if stage.stands:
        return [[replace(pose, x=pose.x + x) for pose in path] for path in paths]
    low, high = (0.28, 0.74) if stage.where != "air" else (0.26, 0.62)
    y = stage.to_grid(_offset([pose.y for path in paths for pose in path], low, high, rng))
    lands = "down" in motions and "land" in stage.scene.media
    if lands:  # near the end of the way down
        beyond = rng.uniform(0, 0.06)
        y = min(_ground_under(pose) - pose.y for pose in paths[0]) + stage.to_grid(beyond)
    placed = [[replace(pose, x=pose.x + x, y=pose.y + y) for pose in path] for path in paths]
    return [[_on_ground(pose) for pose in path] for path in placed] if lands else placed


def _ground_under(pose: Pose) -> float:
    return pose.ground - FEET * pose.size


def _on_ground(pose: Pose) -> Pose:
    return replace(pose, y=min(pose.y, _ground_under(pose)))


def _offset(values: list[float], low: float, high: float, rng: random.Random) -> float:
    ranked = sorted(values)
    cut = len(ranked) // 10
    least, most = low - ranked[cut], high - ranked[-1 - cut]
    return rng.uniform(least, most) if least < most else (least + most) / 2


def _nearest(value: float, cell: float) -> float:
    return round(value / cell) * cell if cell else value
