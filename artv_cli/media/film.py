"""What every writer of a film is told, and the delays of formats that count time in ticks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from artv_cli.media.subtitles import Cue


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film but for its frames: `size` is (width, height) in pixels, `count` its frames.

    `name` is what people call its file, wherever it stands while it is written.
    """

    name: str
    size: tuple[int, int]
    count: int
    fps: Fraction
    metadata: Mapping[str, str]
    subtitles: Sequence[Cue] = ()
    crf: int = 18

    def delays(self, ticks: int) -> list[int]:
        """Return how long each frame is shown, in ticks of 1/`ticks` s.

        Each boundary is rounded from the film's start, so that no error adds up: 24 frames a
        second in hundredths are 4, 4, 5, 4, 4, 4 and so on, 100 in every whole second.
        """
        boundaries = [
            math.floor(Fraction(index * ticks) / self.fps + Fraction(1, 2))
            for index in range(self.count + 1)
        ]
        return [end - start for start, end in zip(boundaries, boundaries[1:], strict=False)]
