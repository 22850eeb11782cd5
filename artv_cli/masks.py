"""Which parts of each frame were copied and which drawn anew, for people to see (Fig. 4, 9 to 11).

A folder of masks, 1 (white) where a frame copies the one before and 0 (black) where it is drawn
anew, holds

`mask-00007.png`  the mean mask of frame 7 over all evaluations: 8-bit grey, as large as the film,
                  each pixel of the latents a block
`masks.csv`       frame, evaluation, timestep, mask: the mean over the frame at each evaluation,
                  from the noisiest on (a sampler of second order asks twice a step)
`sheet.png`       up to six frames, one a row: the frame, its mean mask, and its masks at up to six
                  evaluations, from the noisiest to the last

Frames count from 1. Key frames and pictures that are given have nothing to copy, so no mask.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from artv_cli.cache.entry import Entry
from artv_cli.engine import Watch
from artv_cli.errors import EncodeError, UsageError
from artv_cli.files.output import holds, replacing, require_place, storage_errors
from artv_cli.latents import Mask, Pixels
from artv_cli.media.probe import read_metadata
from artv_cli.media.stills import contact_sheet, fitted, resized
from artv_cli.plan import FramePlan, RenderPlan

SHEET_FRAMES = 6  # at most, and as many evaluations of each
SHEET_TILE = 256  # pixels: the longer side of a picture on the sheet, at most
_COLUMNS = ("frame", "evaluation", "timestep", "mask")
_MARK = ("AI-generated", "true")
_OURS = re.compile(r"mask-\d{5,}\.png|masks\.csv|sheet\.png")
_REMEDY = "Choose another folder with --save-masks."
_Item = TypeVar("_Item")


@dataclass
class _FrameMasks:
    """What one frame's evaluations copied; `each` mask is kept for the sheet alone."""

    is_on_sheet: bool
    means: list[tuple[int, float]] = field(default_factory=list)  # (timestep, mean)
    each: list[Mask] = field(default_factory=list)
    total: Mask | None = None

    def hear(self, timestep: int, mask: Mask) -> None:
        self.means.append((timestep, float(mask.mean())))
        self.total = mask if self.total is None else self.total + mask
        if self.is_on_sheet:
            self.each.append(mask)

    @property
    def mean(self) -> Mask:
        assert self.total is not None, "a frame takes one evaluation at least"
        return self.total / np.float32(len(self.means))


class MaskAlbum:
    """Gathers the masks of a film's frames while they are drawn, and writes them to `folder`.

    `targets` are the frames that have a mask, each once however often the film shows it;
    `different` counts those that came out otherwise when they were drawn again for it.
    """

    def __init__(self, plan: RenderPlan, folder: Path) -> None:
        self.folder = folder
        self.different = 0
        self._size = plan.size
        self._count = len(plan.frames)
        self._frames = [frame for frame in plan.frames if frame.role == "next"]
        self.targets = tuple({frame.key: frame for frame in reversed(self._frames)}.values())[::-1]
        self._sheet: dict[str, Pixels | None] = dict.fromkeys(
            frame.key for frame in _spread(self.targets, SHEET_FRAMES)
        )
        self._masks: dict[str, _FrameMasks] = {}

    def watch(self, target: FramePlan) -> Watch | None:
        """Return who is to hear a frame's masks; None if it has none, or they are here."""
        if target.role != "next" or target.key in self._masks:
            return None
        self._masks[target.key] = _FrameMasks(target.key in self._sheet)
        return self._masks[target.key].hear

    def add(self, target: FramePlan, entry: Entry, again: Entry | None) -> None:
        """Take a frame as the film has it, and as it was drawn `again`, if it was."""
        self.different += again is not None and again.digest != entry.digest
        if target.key in self._sheet:
            self._sheet[target.key] = entry.pixels()

    def write(self) -> None:
        """Put the masks of all frames in place of the folder; raises as `check_masks`."""
        with replacing(self.folder) as part:
            _refuse_foreign(self.folder)  # again: rendering may take hours
            part.mkdir()
            digits = max(5, len(str(self._count)))
            for frame in self._frames:
                mask = Image.fromarray(_grey(self._masks[frame.key].mean))
                name = f"mask-{frame.index + 1:0{digits}}.png"
                mask.resize(self._size, Image.Resampling.NEAREST).save(part / name)
            with open(part / "masks.csv", "w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(self._rows())
            self._write_sheet(part / "sheet.png")

    def _rows(self) -> Iterator[Sequence[object]]:
        yield _COLUMNS
        for frame in self._frames:
            for number, (timestep, mean) in enumerate(self._masks[frame.key].means, 1):
                yield frame.index + 1, number, timestep, f"{mean:.4f}"

    def _write_sheet(self, path: Path) -> None:
        rows = [
            [picture, *map(_colour, [masks.mean, *_spread(masks.each, SHEET_FRAMES)])]
            for key, picture in self._sheet.items()
            if picture is not None
            for masks in [self._masks[key]]
        ]
        if not rows:
            return
        size = fitted(self._size, SHEET_TILE)
        columns = max(map(len, rows))
        blank = np.full((size[1], size[0], 3), 255, np.uint8)
        tiles = [
            resized(row[column], size) if column < len(row) else blank
            for row in rows
            for column in range(columns)
        ]
        info = PngInfo()
        info.add_text(*_MARK)
        Image.fromarray(contact_sheet(tiles, columns)).save(path, pnginfo=info)


def check_masks(folder: Path, *others: Path) -> None:
    """Raise where masks cannot be written beside the `others`, before the first second of work.

    UsageError for a file, for a folder that holds anything else, and for one that another stands in
    or that stands in another; StorageError for one that cannot be written.
    """
    with storage_errors(folder):
        _refuse_foreign(folder)
        for other in others:
            if holds(folder, other) or holds(other, folder):
                told = f"{other} and the masks in {folder} would be in each other's way."
                raise UsageError(told, _REMEDY)
    require_place(folder, _REMEDY)


def _refuse_foreign(folder: Path) -> None:
    if not folder.is_dir():
        if folder.exists():
            raise UsageError(f"{folder} is there already, and it is no folder.", _REMEDY)
        return
    has_table = _is_table(folder / "masks.csv")  # as every folder of masks has
    foreign = [entry.name for entry in folder.iterdir() if not (has_table and _is_ours(entry))]
    if foreign:
        raise UsageError(
            f"{folder} holds more than masks of artv ({min(foreign)}), so it is not replaced.",
            _REMEDY,
        )


def _is_table(path: Path) -> bool:
    head = f"{','.join(_COLUMNS)}\n".encode()
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(head)) == head


def _is_ours(entry: Path) -> bool:
    if not (entry.is_file() and _OURS.fullmatch(entry.name)):
        return False
    try:
        return entry.name != "sheet.png" or read_metadata(entry).get(_MARK[0]) == _MARK[1]
    except EncodeError:
        return False


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """Return the first, the last, and evenly spaced ones between: `most` of them at most."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in places]


def _grey(mask: Mask) -> Pixels:
    pixels: Pixels = (mask * 255).round().astype(np.uint8)
    return pixels


def _colour(mask: Mask) -> Pixels:
    return _grey(mask)[..., None].repeat(3, axis=2)
