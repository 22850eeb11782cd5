"""Single frames of a video that lies inside another file, such as a tar archive of clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artv_cli.errors import EncodeError
from artv_cli.media import ffmpeg
from artv_cli.media.probe import EXACT


def read_excerpt(
    path: Path, span: tuple[int, int], frames: Sequence[int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return some frames, counted from 0, of the MP4 in `span` (first byte, length) of a file.

    They come as uint8 (k, h, w, 3) in the order asked for, the middle of each picture scaled to
    cover `size` (width, height). Raises EncodeError where the video has not got them.
    """
    start, length = span
    wanted = sorted(set(frames))
    width, height = size
    view = (
        f"select={_any_of(wanted)},scale={width}:{height}:force_original_aspect_ratio=increase"
        f":flags=bicubic+{EXACT},crop={width}:{height}"
    )
    data = ffmpeg.run(
        *("-protocol_whitelist", "file,subfile", "-err_detect", "explode", "-threads", "1"),
        *("-f", "mp4", "-i", ffmpeg.url(path, (start, start + length))),
        *("-map", "0:v:0", "-fps_mode", "passthrough", "-vf", view),
        *("-frames:v", str(len(wanted)), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
    )
    shape = (len(wanted), height, width, 3)
    if len(data) != np.prod(shape):
        raise EncodeError(f"the video has no frame {wanted[-1]}")
    pictures: Any = np.frombuffer(data, np.uint8).reshape(shape)
    places = [wanted.index(frame) for frame in frames]
    chosen_pictures: NDArray[np.uint8] = pictures[places]
    return chosen_pictures


def _any_of(frames: Sequence[int]) -> str:
    """Return ffmpeg's expression for a frame being one of these, which ascend.

    It is nested, not a plain sum, of which ffmpeg understands no more than 100 terms.
    """
    first, last = frames[0], frames[-1]
    if last - first == len(frames) - 1:
        return rf"between(n\,{first}\,{last})"
    middle = len(frames) // 2
    return f"({_any_of(frames[:middle])}+{_any_of(frames[middle:])})"
