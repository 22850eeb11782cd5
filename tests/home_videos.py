"""Small real films of the storybook's world, as somebody may have them in a folder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from artv_cli.latents import Pixels
from artv_cli.media.video import write_video
from artv_cli.storybook.script import Script
from artv_cli.storybook.world import compose

SIZE = (64, 64)  # height, width


def shot(
    character: str, motion: str, scene: str, count: int, size: tuple[int, int] = SIZE
) -> list[Pixels]:
    """Return frames of one character who does one thing in one place."""
    script = Script(character, scene, (motion,) * count, count)  # type: ignore[arg-type]
    frames = compose(script, 0, size).frames.permute(0, 2, 3, 1)
    pixels = ((frames + 1) * 127.5).round().byte().numpy()
    return [np.ascontiguousarray(frame) for frame in pixels]


def film(path: Path, frames: list[Pixels], caption: str | None = None, fps: int = 8) -> Path:
    """Write frames as an MP4, with its caption beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(frames, path, fps=Fraction(fps), count=len(frames))
    if caption is not None:
        path.with_suffix(".txt").write_text(f"{caption}\n")
    return path
