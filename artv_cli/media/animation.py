"""Films as animated pictures: GIF through ffmpeg, WebP frame by frame in its own container."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from artv_cli.errors import EncodeError
from artv_cli.latents import Pixels
from artv_cli.media import ffmpeg
from artv_cli.media.film import Film
from artv_cli.media.metadata import gif_comment, xmp

# Ordered dithering: what stands still keeps its pattern, where error diffusion would shimmer.
_DITHER = "dither=bayer:bayer_scale=4"
_LAST_FRAMES = ("-fps_mode", "passthrough", "-map_metadata", "-1", "-threads", "1")
_XMP_FLAG, _ANIMATION_FLAG, _NO_BLEND = 0x04, 0x02, 0x02
_RIFF_LIMIT = 2**32 - 2


def write_gif(frames: Iterable[Pixels], path: Path, film: Film) -> None:
    """Write a looping GIF with one palette for the film.

    The palette needs all frames before the first can be written, so they go through a lossless
    file beside `path`, never through memory.
    """
    spool, palette = path.with_name("film.nut"), path.with_name("palette.png")
    plain = path.with_name("plain.gif")
    with ffmpeg.feeding(
        *ffmpeg.raw_input(film.size, film.fps),
        *("-filter_complex", "[0:v]split[film][seen];[seen]palettegen[palette]"),
        *("-map", "[film]", *_LAST_FRAMES, "-c:v", "ffv1", "-f", "nut", ffmpeg.url(spool)),
        *("-map", "[palette]", "-frames:v", "1", "-update", "1", ffmpeg.url(palette)),
        output=film.name,
    ) as pipe:
        for pixels in frames:
            pipe.write(pixels.tobytes())
    ffmpeg.run(
        *("-i", ffmpeg.url(spool), "-f", "png_pipe", "-i", ffmpeg.url(palette)),
        *("-filter_complex", f"[0:v][1:v]paletteuse={_DITHER}", *_LAST_FRAMES),
        *("-final_delay", str(film.delays(100)[-1]), "-f", "gif", ffmpeg.url(plain)),
        output=film.name,
    )
    with open(plain, "rb") as source, open(path, "wb") as target:
        _copy_gif(source, target, film)


def _copy_gif(source: BinaryIO, target: BinaryIO, film: Film) -> None:
    """Copy a GIF, with a comment after its header and its global palette."""
    header = source.read(13)
    if len(header) < 13 or not header.startswith(b"GIF"):
        raise EncodeError(f"{film.name}: ffmpeg wrote something that is no GIF.")
    has_palette, palette_bits = header[10] & 0x80, header[10] & 0x07
    target.write(header + source.read(3 << (palette_bits + 1) if has_palette else 0))
    if comment := film.metadata.get("comment"):
        target.write(gif_comment(comment))
    while block := source.read(1 << 20):
        target.write(block)


def write_webp(frames: Iterable[Pixels], path: Path, film: Film) -> None:
    """Write a looping, lossless animated WebP, one frame at a time.

    libwebp's own animation encoder holds the film in memory and merges frames that are alike.
    Layout: the WebP container specification, RFC 9649.
    """
    width, height = film.size
    flags = _ANIMATION_FLAG | (_XMP_FLAG if film.metadata else 0)
    with open(path, "wb") as file:
        file.write(b"RIFF\0\0\0\0WEBP")
        extended = struct.pack("<I", flags) + _uint24(width - 1) + _uint24(height - 1)
        file.write(_chunk(b"VP8X", extended))
        file.write(_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0)))  # white, without end
        for pixels, delay in zip(frames, film.delays(1000), strict=True):
            place = bytes(6) + _uint24(width - 1) + _uint24(height - 1)
            header = place + _uint24(delay) + bytes([_NO_BLEND])
            file.write(_chunk(b"ANMF", header + _lossless(pixels)))
        if film.metadata:
            file.write(_chunk(b"XMP ", xmp(film.metadata)))
        size = file.tell() - 8
        if size > _RIFF_LIMIT:
            sentence = f"{film.name}: the film is too long for one WebP file."
            raise EncodeError(sentence, "Write an .mp4 instead.")
        file.seek(4)
        file.write(struct.pack("<I", size))


def webp_stills(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each animated frame of a WebP as (milliseconds, a still WebP), without composing."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name != b"ANMF":
            file.seek(size + size % 2, 1)
            continue
        payload = file.read(size + size % 2)
        still = b"WEBP" + payload[16:]
        riff = b"RIFF" + struct.pack("<I", len(still)) + still
        yield int.from_bytes(payload[12:15], "little"), riff


def _lossless(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()[12:]  # the chunk alone, without the file's RIFF header


def _chunk(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def _uint24(value: int) -> bytes:
    return value.to_bytes(3, "little")
