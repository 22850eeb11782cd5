"""The film is whole or absent: kills while it is written, and an ffmpeg that fails or lies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple
from unittest import mock

import imageio_ffmpeg
import numpy as np

from artv_cli.errors import EncodeError, StorageError
from artv_cli.files import output
from artv_cli.latents import Pixels
from artv_cli.media.video import write_video
from benchmarks.trust import stories
from benchmarks.trust.kills import Place, killed_at_place
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import fork, wait

NAMES = ("film.mp4", "film.mp4", "film.gif", "film.webp", "film.png", "film")
COUNT = 24
PLACES = (
    Place(output, "_sync"),  # the new film is there as a whole, but not on the disk
    Place(output, "_take_place"),
    Place(output, "sync_folder"),  # of the folder in which it has taken its place
    Place(output, "_clear"),
)
"""Where a writer is killed, besides anywhere: before each step to the new film's place."""

FAKES = {
    "missing": None,
    "no program": "",
    "fails at once": "echo 'no such encoder' >&2; exit 3",
    "fails late": "cat > /dev/null; echo 'no such encoder' >&2; exit 3",
    "does nothing": "exit 0",
    "swallows all": "cat > /dev/null; exit 0",
    "finds the disk full": "cat > /dev/null; echo 'x: No space left on device' >&2; exit 1",
    "is killed": "head -c 4000 > /dev/null; kill -9 $$",
    "stops reading": "head -c {number} > /dev/null; exit 0",
    "writes garbage": 'cat > /dev/null; head -c {number} /dev/urandom > "$to"',
    "writes nothing": 'cat > /dev/null; : > "$to"',
    "cuts its file short": '"{ffmpeg}" "$@"; code=$?; truncate -s -{number} "$to"; exit $code',
    "loses frames": 'head -c {half} | "{ffmpeg}" "$@"',
}
"""What stands in ffmpeg's place: a shell script, an empty file, or nothing at all."""

_HEAD = '#!/bin/sh\nfor to; do :; done; to=${{to#file:}}\n[ "$to" = - ] && exec "{ffmpeg}" "$@"\n'


class Film(NamedTuple):
    """A finished film: its bytes, a digest of its pictures, and the seconds it took to write."""

    content: bytes
    pictures: str
    seconds: float


def films(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a kill while a new film takes an old one's place."""
    for warm in ("warm", "timed"):
        films = {name: _film(folder / warm / name, "new") for name in sorted(set(NAMES))}
    old = {name: _film(folder / "old" / name, "old") for name in films}
    for rng in randoms(seed):
        name = rng.choice(NAMES)
        yield partial(_killed, rng, name, old[name], films[name])


def fakes(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a new film over an old one by an ffmpeg that is missing, fails or lies."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    films = {name: _film(folder / name, "new") for name in ("film.mp4", "film.gif")}
    kinds = sorted(FAKES)
    for number, rng in enumerate(randoms(seed)):
        yield partial(_is_refused, rng, kinds[number % len(kinds)], ffmpeg, films)


def _killed(rng: Random, name: str, old: Film, new: Film, folder: Path) -> dict[str, int]:
    path = folder / name
    before = old.content if rng.random() < 0.8 else None
    if before is not None:
        _write(path, "old")
    place = rng.choice((None, *PLACES))
    while (code := _killed_at(place, rng.uniform(0, 1.2 * new.seconds), path)) != -signal.SIGKILL:
        expect(code == 0, f"{name}: the writer ended with {code}")
        _write(path, "old")  # it was done too soon: once more
        before = old.content
    found = content(path) if path.exists() else None
    expect(found in (before, new.content), f"{name}: neither the old film nor the new one")
    _write(path, "new")
    expect(content(path) == new.content, f"{name}: another film after a kill")
    expect([entry.name for entry in folder.iterdir()] == [name], f"{name}: something was left")
    left = (
        "the new film" if found == new.content else "no film" if found is None else "the old film"
    )
    return {f"leaving {left}": 1}


def _killed_at(place: Place | None, seconds: float, path: Path) -> int:
    """Have a child write a new film, and return its code: it is killed at a place of the code.

    Where that is None, so long after its first frame.
    """
    if place is not None:
        return wait(fork(partial(killed_at_place, partial(_write, path, "new"), place, 0)))
    told, begun = os.pipe()
    child = fork(partial(_write, path, "new", begun))
    os.close(begun)
    os.read(told, 1)  # nothing, if it ended before
    os.close(told)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return wait(child)


def _is_refused(
    rng: Random, kind: str, ffmpeg: str, films: dict[str, Film], folder: Path
) -> dict[str, int]:
    name = rng.choice(sorted(films))
    path, fake = folder / "out" / name, folder / "ffmpeg"
    _write(path, "old")
    before = content(path)
    if (script := FAKES[kind]) is not None:
        half = 64 * 48 * 3 * rng.randrange(1, COUNT)
        values = {"ffmpeg": ffmpeg, "number": rng.randrange(1, 400), "half": half}
        fake.write_text((_HEAD + script).format(**values) + "\n" if script else "")
        fake.chmod(0o755)
    what = f"an ffmpeg that {kind}: {name}"
    with mock.patch.object(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(fake)):
        try:
            _write(path, "new")
        except (EncodeError, StorageError) as error:
            expect(error.message and "\n" not in error.message, f"{what}: no one sentence")
        else:
            expect(stories.picture_digest(path) == films[name].pictures, f"{what}: went unseen")
            return {kind: 1}
    expect(content(path) == before, f"{what}: the old film is gone")
    expect([entry.name for entry in path.parent.iterdir()] == [name], f"{what}: something was left")
    return {kind: 1}


def _film(path: Path, which: str) -> Film:
    started = time.perf_counter()
    _write(path, which)
    seconds = time.perf_counter() - started
    return Film(content(path), stories.picture_digest(path), seconds)


def _write(path: Path, which: str, begun: int | None = None) -> None:
    frames = pictures(200 if which == "new" else 90, begun)
    write_video(frames, path, fps=Fraction(8), count=COUNT, metadata={"title": which})


def pictures(level: int, begun: int | None = None) -> Iterator[Pixels]:
    """Yield noise with a square that moves: nothing that an encoder finishes too soon.

    `begun` is a pipe that gets a byte when the encoder has had the first picture.
    """
    noise = np.random.default_rng(level).integers(0, 60, (48, 64, 3), np.uint8)
    for index in range(COUNT):
        pixels = noise.copy()
        pixels[8:16, index : index + 8] = level
        yield pixels
        if index == 0 and begun is not None:
            os.write(begun, b".")


def content(path: Path) -> bytes:
    """Return the bytes of a film, or of all the files in its folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return b"".join(file.name.encode() + file.read_bytes() for file in files)
