"""Footage: other people's films of any length, read as a stream of small frames at a fixed rate.

Only containers that hold their own pictures are opened: a playlist, which names other files, is
refused whatever its name says. The first damaged packet ends the reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from artv_cli.latents import Pixels
from artv_cli.media import ffmpeg
from artv_cli.media.probe import EXACT, TO_PPM, ppm_frames

SUFFIXES = frozenset({
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm",
    ".wmv",
})  # fmt: skip
_CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf"
_ONLY_WHOLE = ("-err_detect", "explode", "-xerror")
_ONLY_FILES = ("-protocol_whitelist", "file,subfile", "-format_whitelist", _CONTAINERS)


def read_footage(
    path: Path, span: tuple[int, int] | None, *, fps: int, side: int, multiple: int
) -> Iterator[Pixels]:
    """Yield the frames, uint8 (h, w, 3), of the film that the bytes `span` of a file hold.

    At `fps` frames a second, the shorter side scaled down to `side` pixels, both sides multiples
    of `multiple`; pixels come out square. One frame is in memory at a time. `span` is first byte
    and end, None for the whole file. Raises EncodeError where the film cannot be read to its end.
    """
    scaling = (
        f"fps={fps},scale=trunc(iw*sar):ih,setsar=1,"
        f"scale='min(iw,{side})':'min(ih,{side})':force_original_aspect_ratio=increase"
        f":force_divisible_by={multiple}:flags=bicubic+{EXACT}"
    )
    arguments = (
        *(*_ONLY_FILES, *_ONLY_WHOLE, "-threads", "1", "-i", ffmpeg.url(path, span)),
        *("-map", "0:v:0", "-vf", scaling, "-fps_mode", "passthrough", *TO_PPM),
    )
    with ffmpeg.reading(*arguments) as stream:
        yield from ppm_frames(stream)
