"""What was measured on one story, and the file that keeps it.

The ledger is a JSON-lines file: one record a line, appended and synced as soon as a story is
judged. A record is found again by its key, which digests the story and everything that decides
how it is told and judged; a line that a kill cut short is left aside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from artv_cli.errors import StorageError, UsageError
from artv_cli.evaluate.figures import background_psnr, gradient_energy, motion_magnitude, psnr
from artv_cli.evaluate.stories import Kind, Story
from artv_cli.evaluate.truth import WINDOW, Names
from artv_cli.evaluate.verdict import Judge
from artv_cli.latents import Pixels


@dataclass(frozen=True)
class Record:
    """The verdict on one story, and what was measured on it.

    `told` is what was asked for last and `seen` what the judge named in the last 16 frames,
    `early` in the first 16 of a long story, and of one that switches. `background` in dB, of the
    last frame against the first, None where it is hidden or is not to hold still; `sharpness` and
    `motion` as generated and in ground truth; `reconstruction` in dB, of a given picture; `masks`
    the mean mask at each sampling step's timestep, noisiest first; `environment` what the engine
    tells of versions and device.
    """

    key: str
    story: str
    kind: Kind
    told: Names
    seen: Names
    early: Names | None
    background: float | None
    sharpness: tuple[float, float]
    motion: tuple[float, float]
    reconstruction: float | None
    seconds: float
    masks: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def measure(
    story: Story,
    pictures: list[Pixels],
    judge: Judge,
    *,
    key: str,
    seconds: float,
    masks: Mapping[str, float],
    environment: Mapping[str, str],
) -> Record:
    """Judge a story's pictures: all but the background in the last 16 frames."""
    frames, truth = _to_frames(pictures), story.truth.frames[-WINDOW:]
    last = frames[-WINDOW:]
    return Record(
        key=key,
        story=story.name,
        kind=story.kind,
        told=story.truth.names[-1],
        seen=judge.name(last),
        early=judge.name(frames[:WINDOW]) if story.kind in ("long", "switch") else None,
        background=_background(frames, judge) if story.truth.at_rest else None,
        sharpness=(_sharpness(last, judge), _sharpness(truth, judge)),
        motion=(motion_magnitude(last), motion_magnitude(truth)),
        reconstruction=None if story.image is None else psnr(frames[:1], story.truth.frames[:1]),
        seconds=round(seconds, 2),
        masks=masks,
        environment=environment,
    )


def _sharpness(frames: Tensor, judge: Judge) -> float:
    return gradient_energy(frames, judge.foreground(frames))


def _background(frames: Tensor, judge: Judge) -> float | None:
    first, last = frames[:1], frames[-1:]
    return background_psnr(last, first, judge.foreground(last), judge.foreground(first))


def _to_frames(pictures: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Ledger:
    """The records in a file; more are appended to it.

    Raises UsageError for a file of anything else, StorageError for one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else []
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from None
        if lines and lines[0][: len(_START)] != _START[: len(lines[0])]:
            raise UsageError(
                f"{path} is there already, and it holds no verdicts.",
                "Name another page with --out, or move that file away.",
            )
        self._cut = bool(lines) and bool(lines[-1])
        records = (_record(line) for line in lines)
        self._records = {record.key: record for record in records if record is not None}

    def get(self, key: str) -> Record | None:
        """Return the record of a key, if it is there."""
        return self._records.get(key)

    def records(self, keys: Iterable[str]) -> list[Record]:
        """Return the records of keys that are all there."""
        return [self._records[key] for key in keys]

    def add(self, record: Record) -> None:
        """Keep a record; raises StorageError where it cannot be written."""
        line = json.dumps(asdict(record)) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write("\n" * self._cut + line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error.strerror}.", "Choose another --out."
            ) from None
        self._cut = False
        self._records[record.key] = record


_START = b'{"key": '
"""How every record begins: of a first one that a kill cut short, there is a part."""


def _record(line: bytes) -> Record | None:
    """Read one line; None where it is not a whole record."""
    try:
        said = json.loads(line)
        for name in ("told", "seen", "early"):
            said[name] = said[name] and Names(**said[name])
        for name in ("sharpness", "motion"):
            generated, truth = said[name]
            said[name] = (generated, truth)
        return Record(**said)
    except (ValueError, KeyError, TypeError):
        return None
