"""Narration as cues on frames, and as SubRip text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from artv_cli.files.output import write_text


@dataclass(frozen=True)
class Cue:
    """A text shown from `start_frame` until just before `end_frame` (0-based)."""

    start_frame: int
    end_frame: int
    text: str


def srt(cues: Sequence[Cue], fps: Fraction) -> str:
    """Return the cues as SubRip; times are rounded to milliseconds, each from the film's start."""
    shown = [(cue, _one_block(cue.text)) for cue in cues if cue.end_frame > cue.start_frame]
    return "\n".join(
        f"{number}\n{_time(cue.start_frame / fps)} --> {_time(cue.end_frame / fps)}\n{text}\n"
        for number, (cue, text) in enumerate(((c, t) for c, t in shown if t), start=1)
    )


def unmarked(text: str) -> str:
    """Return SubRip of which ffmpeg takes nothing for ASS's markup, nor for an unknown tag.

    It would drop `{words}` and `<words>` and break lines at `\\n`, so a word joiner, which nobody
    sees, follows such a character. SubRip's own tags, as players know them, stay.
    """
    return re.sub(r"[\\{]|<(?!/?(?:[bius]|font\b[^<>]*)>)", "\\g<0>\u2060", text)


def write_srt(cues: Sequence[Cue], path: Path, *, fps: Fraction) -> None:
    """Write the cues beside a film, whole or not at all; raises StorageError."""
    write_text(path, srt(cues, fps))


def _one_block(text: str) -> str:
    """Keep a text from ending its cue early: no empty lines, no arrow of a time."""
    lines = (line.strip() for line in re.split(r"[\r\n]+", text.replace("-->", "→")))
    return "\n".join(line for line in lines if line)


def _time(seconds: Fraction) -> str:
    total = math.floor(seconds * 1000 + Fraction(1, 2))
    minutes, milliseconds = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"
