"""The newest frame as a picture: in a file beside the film, and in the terminal as half blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.color import Color
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from artv_cli.errors import ArtvError, UsageError
from artv_cli.files.output import replacing
from artv_cli.latents import Pixels
from artv_cli.observer import Observer
from artv_cli.render import Frame

PREVIEW_INTERVAL = 1.0  # seconds between two pictures: more often, nobody sees them
_MARK = ("software", "artv preview")
_HALF_BLOCK = "▀"  # its foreground is the upper pixel, its background the lower one


class PreviewFile(Observer):
    """Keeps the newest frame as a PNG at `path`, a whole file at every moment.

    The last frame stays there. What cannot be written is said once through `warn`, and stops
    nothing.
    """

    def __init__(
        self,
        path: Path,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._warn_of = warn
        self._clock = clock
        self._next = -np.inf
        self._waiting: Frame | None = None

    def frame(self, frame: Frame) -> None:
        self._waiting = frame
        if not frame.reused and self._clock() >= self._next:
            self._write()

    def encoding(self, path: Path) -> None:
        self._write()

    def _write(self) -> None:
        if self._waiting is None:
            return
        info = PngInfo()
        info.add_text(*_MARK)
        info.add_text("AI-generated", "true")
        try:
            with replacing(self.path) as part:
                picture = Image.fromarray(self._waiting.entry.pixels())
                picture.save(part, "PNG", pnginfo=info, compress_level=1)
        except ArtvError as error:
            self._warn_of(f"no preview: {error.message}")
        self._waiting = None
        self._next = self._clock() + PREVIEW_INTERVAL


def preview_path(output: Path) -> Path:
    """Return where the preview of a film stands: `film.preview.png` beside `film.mp4`."""
    whole = output if output.name not in ("", "..") else output.resolve()  # it may be "."
    return whole.with_name(f"{whole.stem}.preview.png")


def check_preview(path: Path, overwrite: bool) -> None:
    """Raise UsageError where the preview would replace a file that is no preview of artv's."""
    if overwrite or not path.exists() or _is_preview(path):
        return
    raise UsageError(
        f"{path}, where the preview would go, is there already, and artv did not make it.",
        "Add --yes to overwrite it, or choose another output with -o.",
    )


def can_show(console: Console) -> bool:
    """Tell whether half blocks make a picture there: colour, a real terminal, no plain ASCII."""
    is_colourful = console.color_system is not None and not console.no_color
    return console.is_interactive and is_colourful and not console.options.ascii_only


def half_blocks(pixels: Pixels, columns: int, rows: int) -> Segments:
    """Return a picture for a terminal, at most `columns` wide and `rows` high, in its own shape.

    `pixels`: uint8 (h, w, 3). A character cell is two pixels, one above the other.
    """
    height, width, _ = pixels.shape
    scale = min(columns / width, 2 * rows / height)
    size = max(1, round(width * scale)), 2 * max(1, round(height * scale / 2))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    return Segments(_cells(small))


def _cells(pixels: Pixels) -> Iterator[Segment]:
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            yield Segment(_HALF_BLOCK, style)
        yield Segment.line()


def _is_preview(path: Path) -> bool:
    if not os.path.isfile(path):  # a pipe, which nobody may ever write into, is not opened
        return False
    try:
        with open(path, "rb") as file, Image.open(file, formats=["PNG"]) as picture:
            return picture.info.get(_MARK[0]) == _MARK[1]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
