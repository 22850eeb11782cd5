"""Corruption is found: whatever happens to an entry's bytes, the final bits stay the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from standin import StandInEngine

from artv_cli.render import render
from benchmarks.trust import stories
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import SHORT_PLAN, no_picture, store_at

Damage = Callable[[Random, bytes, bytes], bytes]
"""Gets an entry's bytes and another one's, and returns what stands in its place."""


def corruption(seed: int, folder: Path) -> Iterator[Check]:
    """Yield one damaged entry each, in a story of three frames that is rendered again."""
    root = folder / "story"
    whole = stories.digests(SHORT_PLAN, root)
    files = sorted(root.glob("frames/*/*.artv"))
    sound = {path: path.read_bytes() for path in files}
    for rng in randoms(seed):
        yield partial(_is_found, rng, root, sound, whole)


def _is_found(rng: Random, root: Path, sound: dict[Path, bytes], whole: list[str], _: Path) -> None:
    path, other = rng.sample(sorted(sound), 2)
    name = rng.choice(sorted(DAMAGES))
    damaged = DAMAGES[name](rng, sound[path], sound[other])
    if damaged == sound[path]:  # zeroes where zeroes stood
        damaged = b""
    path.write_bytes(damaged)
    told: list[str] = []
    frames = list(render(SHORT_PLAN, store_at(root, told), StandInEngine, no_picture))
    quarantine = root / "quarantine"
    kept = [file.read_bytes() for file in quarantine.iterdir()] if quarantine.exists() else []
    shutil.rmtree(quarantine, ignore_errors=True)
    found = [frame.plan.key for frame in frames if not frame.reused]
    try:
        expect([frame.entry.digest for frame in frames] == whole, f"{name}: other frames")
        expect(found == [path.stem], f"{name}: {len(found)} frames made again, not the bad one")
        expect(len(told) == 1, f"{name}: {len(told)} warnings")
        expect(kept == [damaged], f"{name}: not kept in quarantine")
        expect(path.read_bytes() == sound[path], f"{name}: another entry than before")
    finally:
        path.write_bytes(sound[path])


def _flipped(rng: Random, data: bytes, _: bytes) -> bytes:
    damaged = bytearray(data)
    for place in rng.sample(range(8 * len(data)), rng.choice((1, 1, 1, 2, 3, 8))):
        damaged[place // 8] ^= 1 << place % 8
    return bytes(damaged)


def _zeroed(rng: Random, data: bytes, _: bytes) -> bytes:
    page = rng.choice((16, 64, 512, 4096))
    start = rng.randrange(0, len(data), page)
    return data[:start] + bytes(len(data[start : start + page])) + data[start + page :]


def _doubled(rng: Random, data: bytes, _: bytes) -> bytes:
    start, end = sorted(rng.sample(range(len(data) + 1), 2))
    return data[:end] + data[start:end] + data[end:]


def _spliced(rng: Random, data: bytes, other: bytes) -> bytes:
    cut = rng.randrange(1, min(len(data), len(other)))
    return data[:cut] + other[cut:]


DAMAGES: dict[str, Damage] = {
    "flipped bits": _flipped,
    "cut short": lambda rng, data, _: data[: rng.randrange(len(data))],
    "a zeroed page": _zeroed,
    "swapped files": lambda _rng, _data, other: other,
    "a stretch twice": _doubled,
    "the end of another": _spliced,
    "more at the end": lambda rng, data, _: data + rng.randbytes(rng.randrange(1, 5000)),
    "all zeroes": lambda _rng, data, _: bytes(len(data)),
}
