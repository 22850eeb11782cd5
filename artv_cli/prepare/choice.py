"""Which clips are kept: those whose motion is within bounds, then those whose captions fit best."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator

from artv_cli.prepare.records import Clip, Record
from artv_cli.prepare.report import KEPT, POOR_CAPTION, TOO_STILL, TOO_WILD


class Choice:
    """The rule that keeps the top share of moving clips by caption score, over all videos.

    Of clips with the very score at which the share ends, the earlier ones are kept.
    """

    def __init__(
        self, records: Iterable[Record], share: float, motion: tuple[float, float]
    ) -> None:
        scores = array("d", _scores(records))
        self._least_motion = motion[0]
        self._threshold, self._equals = -math.inf, 0
        if scores:
            best = sorted(scores, reverse=True)[: max(1, round(share * len(scores)))]
            self._threshold = best[-1]
            self._equals = best.count(self._threshold)

    def outcomes(self, records: Iterable[Record]) -> Iterator[tuple[Record, list[str]]]:
        """Yield each video with what becomes of its clips; the same records, in the same order."""
        equals = self._equals
        for record in records:
            told = []
            for clip in record.clips:
                outcome = self._outcome(clip, equals)
                if outcome == KEPT and clip.caption_score == self._threshold:
                    equals -= 1
                told.append(outcome)
            yield record, told

    def _outcome(self, clip: Clip, equals: int) -> str:
        if not clip.is_moving:
            return TOO_STILL if clip.motion < self._least_motion else TOO_WILD
        if clip.caption_score is None or clip.caption_score > self._threshold:
            return KEPT
        return KEPT if clip.caption_score == self._threshold and equals else POOR_CAPTION


def _scores(records: Iterable[Record]) -> Iterator[float]:
    for record in records:
        for clip in record.clips:
            if clip.caption_score is not None:
                yield clip.caption_score
