"""Films as pictures that stand still: a folder of numbered PNGs, or one contact sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from artv_cli.errors import UsageError
from artv_cli.latents import Pixels
from artv_cli.media.film import Film
from artv_cli.media.metadata import xmp

SHEET_FRAMES = 24  # at most
SHEET_COLUMNS = 8
SHEET_TILE = 512  # pixels: the longer side of a frame on a sheet, at most


def write_pngs(frames: Iterable[Pixels], path: Path, film: Film) -> None:
    """Number PNGs from 1; each carries the XMP marks, the first one all the texts."""
    path.mkdir()
    digits = max(5, len(str(film.count)))
    for number, pixels in enumerate(frames, start=1):
        info = _text_chunks(film.metadata if number == 1 else {}, _marks(film))
        Image.fromarray(pixels).save(path / f"frame-{number:0{digits}}.png", pnginfo=info)


def write_sheet(frames: Iterable[Pixels], path: Path, film: Film) -> None:
    """Write evenly spaced frames as one picture: a film at a glance."""
    stride = -(-film.count // SHEET_FRAMES)
    size = fitted(film.size, SHEET_TILE)
    shown = [resized(pixels, size) for n, pixels in enumerate(frames) if n % stride == 0]
    info = _text_chunks(film.metadata, _marks(film))
    Image.fromarray(contact_sheet(shown, SHEET_COLUMNS)).save(path, "PNG", pnginfo=info)


def contact_sheet(frames: Sequence[Pixels], columns: int, gap: int = 4) -> Pixels:
    """Return frames of one size as one picture, row by row, on white, `gap` pixels apart."""
    if not frames or columns < 1:
        raise UsageError("A contact sheet needs at least one frame and one column.")
    height, width, channels = frames[0].shape
    rows = -(-len(frames) // columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, channels)
    sheet: Pixels = np.full(shape, 255, np.uint8)
    for index, pixels in enumerate(frames):
        row, column = divmod(index, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        sheet[top : top + height, left : left + width] = pixels
    return sheet


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return a size (width, height) with a longer side of at most `longest` pixels."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return a picture at a size (width, height): smaller ones smoothly, larger ones in blocks."""
    is_larger = pixels.shape[1] > size[0]
    how = Image.Resampling.LANCZOS if is_larger else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def _marks(film: Film) -> dict[str, str]:
    return {name: text for name, text in film.metadata.items() if name != "comment"}


def _text_chunks(texts: Mapping[str, str], marks: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    if marks:
        info.add_itxt("XML:com.adobe.xmp", xmp(marks).decode())
    for name, text in texts.items():
        info.add_itxt(name, text)  # plain: Pillow refuses to unpack more than 1 MB
    return info
