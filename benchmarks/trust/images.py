"""Hostile images and paths: each is read, or refused in one sentence; none is waited for."""

from __future__ import annotations

import functools
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from artv_cli.errors import ImageError, UsageError
from artv_cli.images import read_image, to_pixels
from artv_cli.preview import check_preview
from artv_cli.recipe import read_recipe
from benchmarks.trust.limits import limited
from benchmarks.trust.proof import Check, expect, randoms

KINDS = ("PNG", "JPEG", "WEBP")
SIZE = (8, 8)
MAX_SECONDS = 10.0  # of processor time
MAX_MEGABYTES = 1000  # the largest picture that is let in takes 160 as RGBA, and is laid over white
_FRAMES = 100  # of an animation: the first alone is wanted
_UNFOLDED = 60_000_000  # bytes of what a few kilobytes of a chunk unfold to


def images(seed: int, folder: Path) -> Iterator[Check]:
    """Yield each way out of the folder and each thing that is no file, then damaged pictures."""
    (folder / "secret.png").write_bytes(picture("PNG"))
    for name in sorted(TRAPS):
        yield partial(_is_trap, name, folder / "secret.png")
    for width, height in ((8000, 8000), (30_000, 30_000), (2**31 - 1, 2**31 - 1), (1, 50_000_000)):
        yield partial(_is_refused, bomb(width, height))
    for kind in ("GIF", "BMP", "TIFF", "PPM", "ICO"):
        yield partial(_is_refused, picture(kind))
    for make in BOMBS:
        yield partial(_is_bounded, make)
    for number, rng in enumerate(randoms(seed)):
        yield partial(_is_cut_off if number % 4 == 0 else _is_read_or_refused, rng)


def _is_trap(name: str, secret: Path, folder: Path) -> None:
    story = folder / "story"
    story.mkdir()
    path = TRAPS[name](story, secret)
    expect(_said_of(path, story), f"{name}: read")
    _is_no_film(path, name)


def _is_no_film(path: Path, name: str) -> None:
    """What stands where a film or its preview goes is looked at, and not waited for either."""
    with limited(f"{name}, taken for a film", seconds=MAX_SECONDS, megabytes=MAX_MEGABYTES):
        for look in (read_recipe, partial(check_preview, overwrite=False)):
            with suppress(UsageError, OSError):  # the latter of a name that is too long
                look(path)


def _is_refused(content: bytes, folder: Path) -> None:
    path = folder / "a.png"
    path.write_bytes(content)
    expect(_said_of(path, folder), f"{content[:40]!r}: read")


def _is_read_or_refused(rng: Random, folder: Path) -> None:
    path = folder / "a"
    path.write_bytes(mutated(rng))
    _said_of(path, folder)


def _is_cut_off(rng: Random, folder: Path) -> None:
    """A picture of which any part is missing is refused, or what came out is all that it shows."""
    kind = rng.choice(KINDS)
    whole, path = picture(kind), folder / "a"
    cut = rng.randrange(len(whole))
    path.write_bytes(whole[:cut])
    if not _said_of(path, folder):
        pixels = to_pixels(read_image(path, folder), SIZE)
        path.write_bytes(whole)
        is_whole = np.array_equal(pixels, to_pixels(read_image(path, folder), SIZE))
        expect(is_whole, f"{kind} cut to {cut} of {len(whole)} bytes: read, and part is missing")


def _is_bounded(make: Callable[[], bytes], folder: Path) -> None:
    path = folder / "a.png"
    path.write_bytes(make())
    _said_of(path, folder, megabytes=_UNFOLDED / 2e6)


def _said_of(path: Path, inside: Path, megabytes: float = MAX_MEGABYTES) -> str:
    """Return the sentence by which an image is refused, empty if it is read."""
    told = f"{path!s:.80} {_beginning(path)!r}"
    with limited(told, seconds=MAX_SECONDS, megabytes=megabytes):
        try:
            pixels = to_pixels(read_image(path, inside), SIZE)
        except ImageError as error:
            is_one = error.message and "\n" not in error.message
            expect(is_one, f"no one sentence: {error.message!r}")
            return error.message
    expect(pixels.shape == (*SIZE, 3) and pixels.dtype == np.uint8, f"{pixels.shape} came out")
    return ""


def _beginning(path: Path) -> bytes:
    """Return the first bytes of a plain file, for a person to know it by."""
    try:
        return path.read_bytes()[:200] if path.is_file() else b""
    except (OSError, ValueError):
        return b""


def mutated(rng: Random) -> bytes:
    """Return a small picture of any format with bytes changed, cut out, put in or swapped."""
    data = bytearray(picture(rng.choice(KINDS)))
    for _ in range(rng.choice((1, 1, 2, 3, 8, 30))):
        place = rng.randrange(len(data))
        match rng.randrange(6):
            case 0 | 1 | 2:
                data[place] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
            case 3:
                data[place : place + 4] = struct.pack(">I", rng.choice((0, 2**31 - 1, 2**32 - 1)))
            case 4:
                del data[place : place + rng.randrange(1, 20)]
            case _:
                data[place:place] = rng.randbytes(rng.randrange(1, 20))
        data = data or bytearray(b"\0")
    return _with_true_checksums(bytes(data)) if rng.random() < 0.4 else bytes(data)


def _with_true_checksums(data: bytes) -> bytes:
    """Mend the checksums of a PNG, so that what is wrong comes past them."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, place = data[:8], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        body = data[place + 4 : place + 8 + length]
        mended += data[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return mended + data[place:]


def picture(kind: str) -> bytes:
    """Return a picture of 12 by 8 pixels as a file of some format."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that claims to be `width` by `height`."""
    return _png(width, height)


def folded(name: bytes, head: bytes) -> bytes:
    """Return a small PNG with a chunk that unfolds from kilobytes to _UNFOLDED behind its head."""
    return _png(1, 1, (name, head + _blanks()))


@functools.cache
def _blanks() -> bytes:
    return zlib.compress(b" " * _UNFOLDED, 1)


def _png(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = (b"IDAT", zlib.compress(bytes(1000)))
    chunks = ((b"IHDR", header), *more, body, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def many_frames(kind: str) -> bytes:
    """Return an animation of a few kilobytes whose frames together are ninety megabytes."""
    first, *rest = (Image.new("RGB", (640, 480), (number, 0, 0)) for number in range(_FRAMES))
    buffer = BytesIO()
    first.save(buffer, kind, save_all=True, append_images=rest)
    return buffer.getvalue()


def _link(target: str | None) -> Callable[[Path, Path], Path]:
    def make(story: Path, secret: Path) -> Path:
        link = story / "link.png"
        link.symlink_to(secret if target is None else target)
        return link

    return make


def _pipe(story: Path, _: Path) -> Path:
    os.mkfifo(story / "pipe.png")
    return story / "pipe.png"


def _socket(story: Path, _: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(story)  # a socket's name may be no longer than a hundred bytes
        try:
            server.bind("s.png")
        finally:
            os.chdir(here)
    return story / "s.png"


def _linked_folder(story: Path, secret: Path) -> Path:
    (story / "up").symlink_to(secret.parent)
    return story / "up" / secret.name


BOMBS: tuple[Callable[[], bytes], ...] = (
    partial(folded, b"zTXt", b"k\0\0"),
    partial(folded, b"iTXt", b"k\0\1\0\0\0"),
    partial(folded, b"iCCP", b"k\0\0"),
    partial(many_frames, "PNG"),
    partial(many_frames, "WEBP"),
)
TRAPS: dict[str, Callable[[Path, Path], Path]] = {
    "dots out of the folder": lambda story, secret: story / os.path.relpath(secret, story),
    "an absolute path": lambda _story, secret: secret,
    "a link out of the folder": _link(None),
    "a link to itself": _link("link.png"),
    "a link to nothing": _link("nothing.png"),
    "a link to a device": _link("/dev/zero"),
    "a linked folder": _linked_folder,
    "a device": lambda _story, _secret: Path("/dev/zero"),
    "a random device": lambda _story, _secret: Path("/dev/urandom"),
    "a terminal": lambda _story, _secret: Path("/dev/tty"),
    "this process's memory": lambda _story, _secret: Path("/proc/self/mem"),
    "a pipe": _pipe,
    "a socket": _socket,
    "a folder": lambda story, _: story,
    "a missing file": lambda story, _: story / "nothing.png",
    "a file as a folder": lambda _story, secret: secret / "x.png",
    "a name with NUL": lambda story, _: story / "a\0.png",
    "a name too long": lambda story, _: story / ("x" * 5000),
    "a name that is no text": lambda story, _: story / "\udcff\ud800.png",
}
