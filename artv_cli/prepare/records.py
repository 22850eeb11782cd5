"""What became of each video, kept in a folder until every shard is there.

`00012/000012345.json` is the record of video 12345, written once its clips, the files
`000012345-00000080.mp4` (which begins at frame 80) beside it, are all there. `order.json`
says what was ordered: whoever orders something else does not get these clips.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artv_cli.errors import StorageError, UsageError
from artv_cli.files.durable import commit, make_folder
from artv_cli.files.output import storage_errors

_A_FOLDER = 1000  # videos


@dataclass(frozen=True)
class Clip:
    """A piece of a shot: its first frame, their number, their size in pixels, its scores.

    `motion` is the mean content value; `caption_score` the cosine similarity of frames and caption,
    None where it was not asked for. `is_moving` says that the motion is within bounds; other clips
    have no file.
    """

    start: int
    frames: int
    width: int
    height: int
    motion: float
    caption_score: float | None
    is_moving: bool


@dataclass(frozen=True)
class Record:
    """A video's outcome: its clips, how many shots were too short, or why it cannot be used."""

    name: str
    caption: str
    clips: tuple[Clip, ...] = ()
    short: int = 0
    trouble: str = ""


class Records:
    """The folder of records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._order = folder / "order.json"

    def open(self, order: Mapping[str, Any]) -> None:
        """Begin, or go on with, the work of an order; UsageError where another one was begun."""
        if begun := read_object(self._order):
            require_same(begun, order, self.folder.parent)
            return
        with storage_errors(self.folder):
            make_folder(self.folder)
            commit(self._order, json.dumps(order).encode())

    def is_done(self, index: int) -> bool:
        """Tell whether a video has its record."""
        return self._record(index).exists()

    def clip_path(self, index: int, start: int) -> Path:
        """Return where the clip of a video stands that begins at frame `start`."""
        return self._record(index).with_name(f"{index:09d}-{start:08d}.mp4")

    def write(self, index: int, record: Record) -> None:
        """Keep the record of a video; raises StorageError."""
        path = self._record(index)
        with storage_errors(path):
            make_folder(path.parent)
            commit(path, json.dumps(asdict(record)).encode())

    def read(self, index: int) -> Record:
        """Return the record of a video; StorageError where the file was damaged meanwhile."""
        content = read_object(self._record(index))
        try:
            clips = tuple(Clip(**clip) for clip in content["clips"])
            return Record(**{**content, "clips": clips})
        except (KeyError, TypeError):
            raise StorageError(
                f"{self._record(index)} is damaged.", "Remove it, then run the same command again."
            ) from None

    def forget_clips(self, index: int) -> None:
        """Remove the clips of a video that turned out to be unusable."""
        path = self._record(index)
        for clip in path.parent.glob(f"{path.stem}-*.mp4"):
            clip.unlink()

    def remove(self) -> None:
        """Remove everything: the shards are there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _record(self, index: int) -> Path:
        return self.folder / f"{index // _A_FOLDER:05d}" / f"{index:09d}.json"


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; nothing where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def require_same(begun: Mapping[str, Any], order: Mapping[str, Any], out: Path) -> None:
    """Raise UsageError, naming the first difference, unless two orders are equal."""
    for name in order:
        if begun.get(name) != order[name]:
            told = f"{name} was {begun.get(name)}, and is {order[name]} now"
            if name == "list":  # two digests would tell nobody what to look at
                told = (
                    "the videos, their captions, sizes or dates are not those that it was begun"
                    " with"
                )
            raise UsageError(
                f"{out} holds the work of another order: {told}.",
                "Name another --out, or remove that folder first.",
            )
