"""Shots and their motion, found by PySceneDetect's content detector in a stream of frames.

Its content value, the mean change of hue, saturation and brightness from one frame to the next
(0 to 255), is both: above a threshold it is a cut, below it is how much moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from artv_cli.errors import UsageError
from artv_cli.latents import Pixels

CUT = 27.0  # PySceneDetect's own threshold


@dataclass(frozen=True)
class Piece:
    """A shot, or a part of one: frames that follow each other without a cut.

    `start` counts the frames before it; `motion` is the mean content value between its frames.
    """

    start: int
    frames: list[Pixels]
    motion: float


def pieces(frames: Iterable[Pixels], longest: int) -> Iterator[Piece]:
    """Yield a stream's shots in pieces of at most `longest` frames; one piece is in memory.

    A change of the picture's size is a cut as well.
    """
    meter = ContentMeter()
    start, held, values = 0, list[Pixels](), list[float]()
    for index, pixels in enumerate(frames):
        if held and pixels.shape != held[-1].shape:
            meter = ContentMeter()
            is_cut, value = True, 0.0
            meter.measure(index, pixels)
        else:
            is_cut, value = meter.measure(index, pixels)
        if held and (is_cut or len(held) == longest):
            yield Piece(start, held, _mean(values))
            start, held, values = index, [], []
        elif held:
            values.append(value)
        held.append(pixels)
    if held:
        yield Piece(start, held, _mean(values))


class ContentMeter:
    """PySceneDetect's content detector, asked frame by frame.

    It sees frames as small as PySceneDetect itself would make them, so that values compare.
    """

    def __init__(self) -> None:
        require_scenedetect()
        import cv2
        from scenedetect.detectors import ContentDetector

        cv2.setNumThreads(1)  # every worker has a core of its own
        self._last = _LastValue()
        # Shots that are too short are dropped, not merged with others as is its default.
        self._detector: Any = ContentDetector(threshold=CUT, min_scene_len=0)
        self._detector.stats_manager = self._last

    def measure(self, index: int, pixels: Pixels) -> tuple[bool, float]:
        """Return whether a cut stands before a frame (h, w, 3), and its content value."""
        from scenedetect import FrameTimecode

        cuts = self._detector.process_frame(FrameTimecode(index, fps=1.0), _reduced(pixels))
        return bool(cuts), self._last.value


class _LastValue:
    """Stands where a StatsManager would remember every frame's values for ever."""

    def __init__(self) -> None:
        self.value = 0.0

    def set_metrics(self, timecode: object, metrics: dict[str, float]) -> None:
        self.value = float(metrics["content_val"])


def require_scenedetect() -> None:
    """Raise UsageError where PySceneDetect, which artv does not need elsewhere, is missing."""
    try:
        import scenedetect  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"Cutting shots needs PySceneDetect ({error}).",
            'Install it: `pip install "artv[train]"`.',
        ) from None


def _reduced(pixels: Pixels) -> Pixels:
    import cv2
    from scenedetect.scene_manager import compute_downscale_factor

    height, width = pixels.shape[:2]
    factor = compute_downscale_factor(width)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    blue_first: Pixels = np.ascontiguousarray(small[..., ::-1])
    return blue_first


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
