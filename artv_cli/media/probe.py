"""Films read back: their measures, their frames, the texts that they carry."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageSequence

from artv_cli.errors import EncodeError
from artv_cli.latents import Pixels
from artv_cli.media import ffmpeg
from artv_cli.media.animation import webp_stills
from artv_cli.media.metadata import parse_ffmetadata, parse_xmp

_PICTURES = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
TO_PPM = ("-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "-")
EXACT = "accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
_TO_TEXTS = ("-fflags", "+bitexact", "-f", "ffmetadata", "-")
_MP4_BRANDS = ("major_brand", "minor_version", "compatible_brands")
_CUT_SHORT = "ffmpeg stopped in the middle of a frame."
_LOCAL_ONLY = ("-protocol_whitelist", "file", "-err_detect", "explode")


@dataclass(frozen=True)
class VideoInfo:
    """What a film measures: `size` is (width, height); `fps` its mean rate, None for a folder."""

    frames: int
    size: tuple[int, int]
    fps: Fraction | None


def probe(path: Path) -> VideoInfo:
    """Return the measures of a film, with every frame decoded; raises EncodeError."""
    if path.is_dir():
        return _probe_folder(path)
    if path.suffix.lower() == ".webp":
        return _probe_webp(path)
    if path.suffix.lower() in _PICTURES:
        return _probe_pictures(path)
    return _probe_stream(path)


def read_frames(path: Path) -> Iterator[Pixels]:
    """Yield the frames of a film, uint8 (h, w, 3); raises EncodeError."""
    if path.is_dir():
        for frame in _frame_paths(path):
            yield from _pictures(frame)
    elif path.suffix.lower() in _PICTURES:
        yield from _pictures(path)
    else:
        yield from _stream_frames(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts that `write_video` put into a film; raises EncodeError if unreadable.

    Devices, pipes and sockets are never opened: whoever reads one may wait for ever.
    """
    with _told_as_encode_error(path):
        film = _frame_paths(path)[0] if path.is_dir() else path
        if not stat.S_ISREG(film.stat().st_mode):
            raise EncodeError(f"{film} is not a file that can be read.")
    if film.suffix.lower() in _PICTURES:
        return _picture_texts(film)
    printed = ffmpeg.run(*_LOCAL_ONLY, "-i", ffmpeg.url(film), *_TO_TEXTS)
    texts = parse_ffmetadata(printed.decode("utf-8", "replace"))
    return {name: text for name, text in texts.items() if name not in _MP4_BRANDS}


def _probe_stream(path: Path) -> VideoInfo:
    """ffmpeg's framecrc lists each decoded frame with its exact time: there is no ffprobe."""
    arguments = (
        *(*_LOCAL_ONLY, "-i", ffmpeg.url(path), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-enc_time_base", "demux", "-f", "framecrc", "-"),
    )
    frames = start = end = 0
    unit, size = Fraction(1), (0, 0)
    with _told_as_encode_error(path), ffmpeg.reading(*arguments) as stream:
        for line in stream:
            if line.startswith(b"#tb 0:"):
                unit = Fraction(line.split()[2].decode())
            elif line.startswith(b"#dimensions 0:"):
                width, height = line.split()[2].split(b"x")
                size = (int(width), int(height))
            elif not line.startswith(b"#"):
                time, duration = (int(field) for field in line.split(b",")[2:4])
                start, end = (time if frames == 0 else start), time + duration
                frames += 1
    return VideoInfo(frames, size, frames / ((end - start) * unit) if end > start else None)


def _stream_frames(path: Path) -> Iterator[Pixels]:
    arguments = (
        *(*_LOCAL_ONLY, "-i", ffmpeg.url(path), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-vf", f"scale=flags={EXACT}", *TO_PPM),
    )
    with _told_as_encode_error(path), ffmpeg.reading(*arguments) as stream:
        yield from ppm_frames(stream)


def ppm_frames(stream: IO[bytes]) -> Iterator[Pixels]:
    """Yield the frames of a pipe of PPMs, each of its own size; EncodeError if one is cut short."""
    while stream.readline():  # a PPM says its size, so the frames need no probe
        width, height = _ppm_size(stream.readline())
        stream.readline()
        yield _read_pixels(stream, width, height)


def _ppm_size(line: bytes) -> tuple[int, int]:
    try:
        width, height = (int(number) for number in line.split())
    except ValueError:
        raise EncodeError(_CUT_SHORT) from None
    return width, height


def _read_pixels(stream: IO[bytes], width: int, height: int) -> Pixels:
    data = stream.read(width * height * 3)
    if len(data) < width * height * 3:
        raise EncodeError(_CUT_SHORT)
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def _probe_folder(path: Path) -> VideoInfo:
    infos = [_probe_pictures(frame) for frame in _frame_paths(path)]
    return VideoInfo(len(infos), infos[0].size, None)


def _probe_pictures(path: Path) -> VideoInfo:
    frames, milliseconds = 0, 0
    with _opened(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            frame.load()
            frames += 1
            milliseconds += int(frame.info.get("duration", 0))
        fps = Fraction(1000 * frames, milliseconds) if milliseconds else None
        return VideoInfo(frames, picture.size, fps)


def _probe_webp(path: Path) -> VideoInfo:
    """Decode still by still: Pillow would hold the whole file."""
    frames, milliseconds, size = 0, 0, (0, 0)
    with _told_as_encode_error(path), open(path, "rb") as file:
        for delay, still in webp_stills(file):
            with Image.open(io.BytesIO(still), formats=("WEBP",)) as picture:
                picture.load()
                size = max(size, picture.size)  # the canvas: its first frame fills it
            frames += 1
            milliseconds += delay
    if not frames:
        return _probe_pictures(path)
    return VideoInfo(frames, size, Fraction(1000 * frames, milliseconds) if milliseconds else None)


def _pictures(path: Path) -> Iterator[Pixels]:
    with _opened(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            yield np.asarray(frame.convert("RGB"))


def _picture_texts(path: Path) -> dict[str, str]:
    with _opened(path) as picture:
        picture.load()
        info = picture.info
    packet = info.get("xmp", b"")
    texts = parse_xmp(packet) if isinstance(packet, bytes) else {}
    plain = {
        name: value
        for name, value in info.items()
        if isinstance(name, str) and isinstance(value, str) and not name.startswith("XML:")
    }
    if isinstance(comment := info.get("comment"), bytes):
        plain["comment"] = comment.decode("ascii", "replace")
    return texts | plain


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with _told_as_encode_error(path), open(path, "rb") as file:  # Pillow may leave it open
        with Image.open(file, formats=tuple(_PICTURES.values())) as picture:
            yield picture


@contextmanager
def _told_as_encode_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise EncodeError(f"{path} cannot be read: {error}.") from error


def _frame_paths(folder: Path) -> list[Path]:
    frames = sorted(folder.glob("frame-*.png"))
    if not frames:
        raise EncodeError(f"{folder} holds no frames.")
    return frames
