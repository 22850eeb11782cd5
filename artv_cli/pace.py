"""How fast frames come, and so how much time is left: told from newly drawn frames alone."""

from __future__ import annotations

from collections import deque

RECENT_FRAMES = 32  # the pace is that of the newest frames: a machine's speed changes overnight
_TRIM = 0.2  # of the newest frames, at either end: a hiccup of the machine is not its pace


class Pace:
    """Counts new frames, each with the `effort` that it is (see `timings.effort`).

    The rate is the trimmed mean over the newest frames; the first one of all, which warms
    everything up, counts only until there are others. Unlike a median, that is right for frames
    of two speeds in turn; unlike a mean, a single hiccup cannot move it far.
    """

    def __init__(self, effort: float) -> None:
        self._effort_left = effort
        self._newest: deque[tuple[float, float]] = deque(maxlen=RECENT_FRAMES)
        self._count = 0

    def add(self, seconds: float, effort: float = 1.0) -> None:
        """Count one new frame that took `seconds`; an image, which is no effort, counts not."""
        if effort <= 0:
            return
        self._effort_left -= effort
        if self._count == 1:
            self._newest.clear()
        self._newest.append((seconds, effort))
        self._count += 1

    @property
    def seconds_per_frame(self) -> float | None:
        """Seconds that a new frame takes, or None before the first."""
        return _trimmed_mean([seconds for seconds, _ in self._newest])

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last new frame, or None before the first."""
        rate = _trimmed_mean([seconds / effort for seconds, effort in self._newest])
        return None if rate is None else rate * max(0.0, self._effort_left)


def _trimmed_mean(values: list[float]) -> float | None:
    cut = int(len(values) * _TRIM)
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept) if kept else None
