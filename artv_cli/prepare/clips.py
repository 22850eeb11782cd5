"""One video into clips: decoded at 8 frames a second, cut into shots, scored, written as MP4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from threading import Event
from typing import Protocol

from artv_cli.errors import EncodeError
from artv_cli.files.durable import make_folder
from artv_cli.files.output import storage_errors
from artv_cli.latents import Pixels
from artv_cli.media.footage import read_footage
from artv_cli.media.video import write_video
from artv_cli.prepare.records import Clip, Record, Records
from artv_cli.prepare.shots import Piece, pieces
from artv_cli.prepare.sources import Source, UnusableSource

FPS = 8  # as the paper trains
FEWEST = 8  # frames of a clip
CRF = 12
MULTIPLE = 2  # of both sides: H.264 halves its colours
EPOCH = 3  # raise it whenever the same videos come to be cut, chosen or written otherwise


class Stopped(Exception):
    """The work was interrupted."""


class Scorer(Protocol):
    """Tells how well a caption fits frames."""

    def score(self, frames: list[Pixels], caption: str) -> float:
        """Return the mean cosine similarity of frames (h, w, 3) and a caption."""
        ...


@dataclass(frozen=True)
class Cutting:
    """How videos are cut: the shorter side in pixels, the most frames of a clip, and the least and
    most motion that it may have.
    """

    side: int
    longest: int
    motion: tuple[float, float]


class ClipMaker:
    """Makes the clips of one video after the other; workers may share it."""

    def __init__(self, records: Records, cutting: Cutting, scorer: Scorer | None) -> None:
        self._records, self._cutting, self._scorer = records, cutting, scorer
        self.stop = Event()

    def make(self, index: int, source: Source) -> Record:
        """Write the clips and the record of video number `index`, and return the record.

        What is wrong with the video stands in the record. Raises StorageError, and Stopped once
        `stop` is set.
        """
        caption = ""
        try:
            caption = source.read_caption()
            clips, short = self._clips(index, source, caption)
            record = Record(source.name, caption, tuple(clips), short)
            if not clips and not short:
                raise UnusableSource("it has no frames")
        except (EncodeError, UnusableSource) as error:
            self._records.forget_clips(index)
            reason = error.message if isinstance(error, EncodeError) else str(error)
            record = Record(source.name, caption, trouble=reason)
        self._records.write(index, record)
        return record

    def _clips(self, index: int, source: Source, caption: str) -> tuple[list[Clip], int]:
        cutting = self._cutting
        footage = read_footage(
            source.path, source.span, fps=FPS, side=cutting.side, multiple=MULTIPLE
        )
        clips, short = [], 0
        for piece in pieces(self._until_stopped(footage), cutting.longest):
            if len(piece.frames) < FEWEST:
                short += 1
            else:
                clips.append(self._clip(index, piece, caption))
        return clips, short

    def _until_stopped(self, frames: Iterator[Pixels]) -> Iterator[Pixels]:
        for pixels in frames:
            if self.stop.is_set():
                raise Stopped
            yield pixels

    def _clip(self, index: int, piece: Piece, caption: str) -> Clip:
        low, high = self._cutting.motion
        motion = round(piece.motion, 4)
        is_moving = low <= motion <= high
        score = None
        if is_moving:
            self._write(index, piece)
            if self._scorer is not None:
                score = round(self._scorer.score(piece.frames, caption), 6)
        height, width = piece.frames[0].shape[:2]
        return Clip(piece.start, len(piece.frames), width, height, motion, score, is_moving)

    def _write(self, index: int, piece: Piece) -> None:
        path = self._records.clip_path(index, piece.start)
        if path.exists():  # of a run that was killed within a long video
            return
        with storage_errors(path):
            make_folder(path.parent)
        write_video(piece.frames, path, fps=Fraction(FPS), count=len(piece.frames), crf=CRF)
