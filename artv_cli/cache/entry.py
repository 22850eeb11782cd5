"""One cached frame as one file: the format, complete.

::

    artv-frame 1\\n                        magic and version
    <64 hexadecimal digits>\\n             SHA-256 of the header, without its line feed
    {"digest":"…", …}\\n                   header: one line of canonical JSON
    <latents><png>                        payload, and then the file ends

The header's fields:

`key`          SHA-256 of everything that the frame is made from (`artv_cli.keys`), the file's name
`latents`      {"dtype": float32 | float16 | bfloat16, "shape": [c, h, w]}; the values follow in C
               order, little-endian; none, [0, 0, 0], for the picture of a text-to-image model
`png`          length of the picture's PNG file in bytes
`digest`       SHA-256 of "<dtype> <shape>\\n", the latents and the PNG: the frame's content
`parents`      {key: digest} of every frame that this one is conditioned on
`environment`  {name: value}: library versions, device, whatever else can change the last bit

The second line vouches for the header, the header for the payload, so no byte can change, go
missing or be added without a check that fails, and a header alone can be trusted. The frames that
come next are conditioned on the latents; the picture is a view of them, kept so that a video
needs no network.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from artv_cli.cache.failure import command
from artv_cli.errors import StorageError
from artv_cli.latents import ITEM_SIZE, Latents, Pixels

MAGIC = b"artv-frame 1\n"
_LONGEST_HEADER = 1 << 20  # bytes; a real one has some hundred

# An IEEE float is no number exactly when all bits of its exponent are set.
_EXPONENT = {
    "float32": ("<u4", 0x7F80_0000),
    "float16": ("<u2", 0x7C00),
    "bfloat16": ("<u2", 0x7F80),
}


class BadEntry(Exception):
    """A file that is not a whole, true cache entry; its text says what is wrong with it."""


@dataclass(frozen=True)
class Header:
    """What an entry says of itself, trusted once the second line has vouched for it."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    png_length: int
    digest: str
    parents: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def latents_length(self) -> int:
        """Length of the latents in bytes."""
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]

    @property
    def payload_length(self) -> int:
        """Length in bytes of all that follows the header."""
        return self.latents_length + self.png_length


@dataclass(frozen=True)
class Entry:
    """One frame: the latents that the next frame is conditioned on, and its picture as a PNG.

    `cache` is the root of the cache that it was read from, for who must be told where to look.
    """

    key: str
    latents: Latents
    png: bytes
    parents: Mapping[str, str]
    environment: Mapping[str, str]
    cache: Path | None = field(default=None, compare=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal: latents and picture, not key or parents."""
        head = f"{self.latents.dtype} {list(self.latents.shape)}\n".encode()
        return hashlib.sha256(head + self.latents.data + self.png).hexdigest()

    def pixels(self) -> Pixels:
        """Return the picture: uint8 (h, w, 3). StorageError if the PNG is none."""
        try:
            with Image.open(io.BytesIO(self.png), formats=["PNG"]) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise StorageError(
                f"the picture of the cached frame {self.key[:12]} cannot be read ({error})",
                f"Run {command('verify', self.cache or Path('FOLDER'))}, then the same command"
                " again.",
            ) from error


def make_entry(
    key: str,
    latents: Latents,
    pixels: Pixels,
    parents: Mapping[str, str],
    environment: Mapping[str, str],
) -> Entry:
    """Return the entry of a frame that was just made; `pixels`: uint8 (h, w, 3)."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return Entry(key, latents, png.getvalue(), dict(parents), dict(environment))


def pack_entry(entry: Entry) -> bytes:
    """Return an entry as the bytes of its file."""
    fields = {
        "key": entry.key,
        "latents": {"dtype": entry.latents.dtype, "shape": list(entry.latents.shape)},
        "png": len(entry.png),
        "digest": entry.digest,
        "parents": dict(entry.parents),
        "environment": dict(entry.environment),
    }
    header = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
    seal = hashlib.sha256(header).hexdigest().encode("ascii")
    return b"".join((MAGIC, seal, b"\n", header, b"\n", entry.latents.data, entry.png))


def read_header(file: BinaryIO) -> Header:
    """Read an entry up to its payload. BadEntry unless every byte so far is right."""
    magic = file.readline(len(MAGIC))
    if magic != MAGIC:
        known = magic.startswith(b"artv-frame ")
        raise BadEntry("it has another format version" if known else "it is no artv frame")
    seal = file.readline(65)
    header = file.readline(_LONGEST_HEADER)
    if not header.endswith(b"\n"):
        raise BadEntry("it is cut short")
    if seal != hashlib.sha256(header[:-1]).hexdigest().encode("ascii") + b"\n":
        raise BadEntry("its header is damaged")
    try:
        return _header(json.loads(header))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        raise BadEntry("its header says nothing that artv knows") from None


def read_entry(file: BinaryIO, cache: Path | None = None) -> Entry:
    """Read and verify an entry. BadEntry unless every byte is right and every value a number."""
    header = read_header(file)
    payload = _payload(file, header.payload_length)
    values, png = payload[: header.latents_length], payload[header.latents_length :]
    latents = Latents(header.dtype, header.shape, values)  # type: ignore[arg-type]
    entry = Entry(header.key, latents, png, header.parents, header.environment, cache)
    if entry.digest != header.digest:
        raise BadEntry("its content is damaged")
    if not is_finite(latents):
        raise BadEntry("its latents are not all numbers")
    return entry


def _payload(file: BinaryIO, length: int) -> bytes:
    """Read the rest of an entry. BadEntry unless it has this length: else nothing is read of it."""
    start = file.tell()
    rest = file.seek(0, os.SEEK_END) - start  # of a file that grew, it may not fit into memory
    if rest != length:
        raise BadEntry("it is cut short" if rest < length else "it is longer than it says")
    file.seek(start)
    return file.read(length)


def entry_at(path: Path, cache: Path | None = None) -> Entry:
    """Return the entry at `path`, verified. BadEntry, or OSError if it cannot be read."""
    with _opened(path) as file:
        entry = read_entry(file, cache)
    if entry.key != path.stem:
        raise BadEntry("it holds another frame than its name says")
    return entry


def header_at(path: Path) -> Header | None:
    """Return the header of the entry at `path`, or None if it, or the file's length, is wrong."""
    try:
        with _opened(path) as file:
            header = read_header(file)
            whole = os.fstat(file.fileno()).st_size == file.tell() + header.payload_length
    except (BadEntry, OSError):
        return None
    return header if whole and header.key == path.stem else None


def _opened(path: Path) -> BinaryIO:
    """Open a regular file; BadEntry for anything else, which might never end or never begin."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise BadEntry("it is no file")
    return open(path, "rb")


def is_finite(latents: Latents) -> bool:
    """Tell whether every value is a number: neither NaN nor infinite."""
    word, exponent = _EXPONENT[latents.dtype]
    bits = np.frombuffer(latents.data, dtype=word)
    return not bool(np.any((bits & exponent) == exponent))


def _header(fields: Any) -> Header:
    """Check the JSON of a header; whatever it trips over means that it is bad."""
    latents = fields["latents"]
    header = Header(
        key=_text(fields["key"]),
        dtype=_text(latents["dtype"]),
        shape=tuple(_count(side) for side in latents["shape"]),
        png_length=_count(fields["png"]),
        digest=_text(fields["digest"]),
        parents=_texts(fields["parents"]),
        environment=_texts(fields["environment"]),
    )
    if header.dtype not in ITEM_SIZE:
        raise ValueError
    return header


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError
    return value


def _texts(value: Any) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in value.items()}
