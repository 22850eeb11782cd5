"""Shards as `artv prepare` leaves them, of clips that a test makes up."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artv_cli.media.video import write_video

Clip = tuple[str, NDArray[np.uint8]]  # caption and frames (n, h, w, 3)


def moving_square(frames: int = 12, side: int = 48, colour: int = 220) -> NDArray[np.uint8]:
    """Return a clip of a square that crosses a grey field, three pixels a frame."""
    clip = np.full((frames, side, side, 3), 60, np.uint8)
    for frame in range(frames):
        clip[frame, 16:32, 3 * frame : 3 * frame + 12, frame % 3 :] = colour
    return clip


def as_mp4(frames: NDArray[np.uint8], folder: Path) -> bytes:
    path = folder / "clip.mp4"
    write_video(list(frames), path, fps=Fraction(8), count=len(frames), crf=1)
    data = path.read_bytes()
    path.unlink()
    return data


def write_shards(
    folder: Path,
    clips: Mapping[str, Clip],
    shards: int = 1,
    more: Mapping[str, bytes] = {},  # noqa: B006
) -> Path:
    """Write clips by key into so many shards; `more` members replace or join the usual ones."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = sorted(clips)
    listed = []
    for number in range(shards):
        path = folder / f"shard-{number:05}.tar"
        here = keys[number::shards]
        with tarfile.open(path, "w") as archive:
            for key in here:
                for name, data in _members(key, *clips[key], folder, more).items():
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        listed.append({"name": path.name, "samples": len(here), "bytes": path.stat().st_size})
    listing = {"format": "artv-shards 1", "samples": len(keys), "shards": listed}
    (folder / "shards.json").write_text(json.dumps(listing))
    return folder


def _members(
    key: str,
    caption: str,
    frames: Sequence[NDArray[np.uint8]],
    folder: Path,
    more: Mapping[str, bytes],
) -> dict[str, bytes]:
    pictures = np.asarray(frames)
    height, width = pictures.shape[1:3]
    facts = {
        **{"source": key, "start": 0.0, "frames": len(pictures), "fps": 8},
        **{"width": width, "height": height, "motion": 5.0, "clip": 0.3},
    }
    usual = {
        f"{key}.mp4": as_mp4(pictures, folder),
        f"{key}.txt": caption.encode(),
        f"{key}.json": json.dumps(facts).encode(),
    }
    return usual | {name: data for name, data in more.items() if name.startswith(f"{key}.")}
