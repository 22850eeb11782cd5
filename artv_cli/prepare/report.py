"""What was found and what was kept: counts, histograms, and a picture of them."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from artv_cli.prepare.clips import FPS
from artv_cli.prepare.records import Clip, Record

FORMAT = "artv-prepare 1"
KEPT, TOO_STILL, TOO_WILD, POOR_CAPTION = "kept", "too_still", "too_wild", "poor_caption"
TOO_SHORT = "too_short"

_WIDTH, _PANEL, _MARGIN = 720, 190, 40
_PAPER, _INK, _FOUND, _TAKEN = "white", "#333333", "#c8ccd2", "#2f6fb3"


@dataclass
class Histogram:
    """Counts of values in bins of equal width from `low` to `high`, of all found and of those kept.

    The first and the last bin take in what lies beyond them.
    """

    title: str
    low: float
    high: float
    bins: int
    found: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found, self.kept = [0] * self.bins, [0] * self.bins

    def add(self, value: float, is_kept: bool) -> None:
        """Count one value."""
        place = int((value - self.low) / (self.high - self.low) * self.bins)
        place = min(max(place, 0), self.bins - 1)
        self.found[place] += 1
        self.kept[place] += is_kept

    def to_json(self) -> dict[str, Any]:
        """Return the edges of the bins and both counts."""
        width = (self.high - self.low) / self.bins
        edges = [round(self.low + width * number, 6) for number in range(self.bins + 1)]
        return {"edges": edges, "found": self.found, "kept": self.kept}


class Report:
    """Counts clips and videos as they are told of, and is written at the end."""

    def __init__(self, longest: int) -> None:
        """`longest` is how many frames a clip may have."""
        self.outcomes: Counter[str] = Counter()
        self.videos = 0
        self.unreadable: list[str] = []
        self._frames = 0
        self._histograms = {
            "motion": Histogram("motion: mean content value", 0, 30, 60),
            "clip": Histogram("captions: CLIP similarity", 0, 0.5, 50),
            "seconds": Histogram("length in seconds", 0, longest / FPS, 40),
        }

    def add_video(self, record: Record) -> None:
        """Count a video, and the shots of it that were too short."""
        self.videos += 1
        self.outcomes[TOO_SHORT] += record.short
        if record.trouble:
            self.unreadable.append(f"{record.name}: {record.trouble}")

    def add_clip(self, clip: Clip, outcome: str) -> None:
        """Count a clip, with what became of it."""
        is_kept = outcome == KEPT
        self.outcomes[outcome] += 1
        self._frames += clip.frames * is_kept
        self._histograms["motion"].add(clip.motion, is_kept)
        self._histograms["seconds"].add(clip.frames / FPS, is_kept)
        if clip.caption_score is not None:
            self._histograms["clip"].add(clip.caption_score, is_kept)

    def to_json(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the report; `order` is what was asked for."""
        outcomes = (KEPT, TOO_STILL, TOO_WILD, POOR_CAPTION, TOO_SHORT)
        return {
            "format": FORMAT,
            "order": order,
            "videos": self.videos,
            "unreadable": len(self.unreadable),
            "clips": {outcome: self.outcomes[outcome] for outcome in outcomes},
            "seconds": self._frames / FPS,
            "histograms": {name: one.to_json() for name, one in self._histograms.items()},
        }

    def to_png(self) -> bytes:
        """Return the histograms as a picture: what was found in grey, what was kept in blue."""
        shown = [one for one in self._histograms.values() if any(one.found)]
        height = _PANEL * max(1, len(shown)) + _MARGIN // 2
        picture = Image.new("RGB", (_WIDTH, height), _PAPER)
        draw = ImageDraw.Draw(picture)
        for number, histogram in enumerate(shown):
            _draw(draw, histogram, number * _PANEL)
        data = io.BytesIO()
        picture.save(data, "PNG")
        return data.getvalue()


def _draw(draw: ImageDraw.ImageDraw, histogram: Histogram, top: int) -> None:
    font = ImageFont.load_default(13)
    base, highest = top + _PANEL - 18, max(histogram.found)
    room, step = _PANEL - 60, (_WIDTH - 2 * _MARGIN) / histogram.bins
    told = f"{histogram.title}   (kept {sum(histogram.kept)} of {sum(histogram.found)})"
    draw.text((_MARGIN, top + 14), told, _INK, font)
    for counts, colour in ((histogram.found, _FOUND), (histogram.kept, _TAKEN)):
        for place, count in enumerate(counts):
            left, tall = _MARGIN + place * step, room * count / highest
            if count:
                draw.rectangle((left, base - max(1, tall), left + step - 1, base), colour)
    draw.line((_MARGIN, base, _WIDTH - _MARGIN, base), _INK)
    for tick in range(6):
        share = tick / 5
        value = histogram.low + share * (histogram.high - histogram.low)
        across = _MARGIN + share * (_WIDTH - 2 * _MARGIN)
        draw.text((across, base + 3), f"{value:g}", _INK, font, anchor="ma")
