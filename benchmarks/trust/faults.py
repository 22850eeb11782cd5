"""Any I/O error is clean: the right exit code, a valid cache, no half film, and resume."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import groupby, product
from pathlib import Path
from random import Random
from typing import NamedTuple

from artv_cli.errors import ArtvError
from artv_cli.files.durable import NO_SPACE
from artv_cli.media.video import RECIPE_FILE
from benchmarks.trust import stories
from benchmarks.trust.calls import around_calls, takes_room
from benchmarks.trust.kills import calls_of, expect_resumed, film
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import (
    FILM,
    disturbances,
    expect_kept,
    fork,
    kept,
    leftovers,
    told,
    wait,
)

DONE, FAILED, STORAGE = 0, 1, 5  # exit codes
_BEFORE = ((False, False), (True, False))


NAMES = ("film.mp4", "film.gif", "film.webp", "film.png", "film")
_OLDER = (
    stories.SEGMENTS[0],
    {**stories.SEGMENTS[1], "narration": "Before that"},
    {**stories.SEGMENTS[2], "frames": 4},
)


class Scene(NamedTuple):
    """A film that is to be made, what it comes to, and what is there before."""

    name: str
    frames: tuple[str, ...]
    files: dict[str, bytes]
    start: Path | None
    older: dict[str, bytes]


class Mode(NamedTuple):
    """How a call fails: this one or all from it on, after it did its work or before; the error.

    Only what takes room can find the disk full, so all else goes on working where it is.
    """

    is_lasting: bool
    is_done: bool
    code: int


class Fault(NamedTuple):
    """A call that fails while a film is made."""

    scene: Scene
    number: int
    name: str
    mode: Mode

    def __str__(self) -> str:
        start = "over an older film" if self.scene.start else "from nothing"
        how = f"{'done, ' * self.mode.is_done}{'lasting ' * self.mode.is_lasting}"
        error = errno.errorcode[self.mode.code]
        return f"{self.scene.name} {start}: {how}{error} at call {self.number}, {self.name}"


def failing_calls(seed: int, folder: Path) -> Iterator[Check]:
    """Yield every call of a 24-frame story and its export into an .mp4, failing in every mode."""
    fresh, _ = scenes(FILM, folder / FILM)
    faults = [fault for modes in _faults(fresh, folder / "count") for fault in modes]
    Random(seed).shuffle(faults)
    for fault in faults:
        yield partial(_survives, fault)


def failing_calls_over_older(seed: int, folder: Path) -> Iterator[Check]:
    """Yield calls of films of every kind, where most frames and an older film are there.

    Call and mode are drawn at random, and first one of the stretches of calls of one name, so that
    what is called seldom fails as often as what is called for every frame.
    """
    stretches: dict[str, list[list[list[Fault]]]] = {}
    for name in NAMES:
        _, begun = scenes(name, folder / name)
        calls = groupby(_faults(begun, folder / f"count {name}"), lambda modes: modes[0].name)
        stretches[name] = [list(alike) for _, alike in calls]
    for rng in randoms(seed):
        calls_alike = rng.choice(stretches[rng.choice(NAMES)])
        yield partial(_survives, rng.choice(rng.choice(calls_alike)))


def scenes(name: str, folder: Path) -> tuple[Scene, Scene]:
    """Return the making of a film from nothing, and from most of it, over an older film."""
    start, whole = folder / "older", folder / "whole"
    film(start, name, *_OLDER)
    older = stories.beside_cache(start)
    report = film(whole, name)
    files = stories.beside_cache(whole)
    fresh = Scene(name, report.frame_digests, files, None, {})
    return fresh, fresh._replace(start=start, older=older)


def _faults(scene: Scene, home: Path) -> Iterator[list[Fault]]:
    """Yield for each call of a scene the ways in which it can fail."""
    home.mkdir()
    _set(scene, home)
    for number, name in enumerate(calls_of(home, partial(film, home, scene.name))):
        codes = (errno.EIO, errno.ENOSPC) if takes_room(name) else (errno.EIO,)
        ways = ((False, False), (True, False), (False, True)) if takes_room(name) else _BEFORE
        modes = [Mode(*way, code) for way, code in product(ways, codes)]
        yield [Fault(scene, number, name, mode) for mode in modes]


def _set(scene: Scene, home: Path) -> None:
    if scene.start is not None:
        shutil.copytree(scene.start, home, dirs_exist_ok=True)


def _survives(fault: Fault, home: Path) -> None:
    scene, cache = fault.scene, home / ".artv"
    complaint = home.with_name(f"{home.name}.txt")
    _set(scene, home)
    before = kept(cache)
    code = wait(fork(partial(_film_with, fault, home, complaint), complaint))
    said = told(complaint)
    expect(code in _codes(fault), f"{fault}: exit code {code}: {said}")
    expect(code == DONE or said.strip(), f"{fault}: nothing was said")
    expect(not (found := disturbances(cache)), f"{fault}: {found}")
    expect_kept(before, kept(cache), f"{fault}")
    files = stories.beside_cache(home)
    other = _other(files, scene.files) if code == DONE else []
    expect(not other, f"{fault}: exit code 0, but another film: {other}")
    old, new, now = (_film_of(scene, these) for these in (scene.older, scene.files, files))
    expect(now in (old, new), f"{fault}: half a film")
    resumes(home, scene, f"{fault}")


def _codes(fault: Fault) -> tuple[int, ...]:
    """Return with which exit codes a render may end: what cannot be written has one of its own."""
    mode = fault.mode
    only_writes = mode.code in NO_SPACE or (takes_room(fault.name) and not mode.is_lasting)
    return (DONE, STORAGE) if only_writes else (DONE, FAILED, STORAGE)


def _film_with(fault: Fault, home: Path, complaint: Path) -> None:
    """Make a scene's film while a call fails."""
    mode, failed = fault.mode, False

    def fail(number: int, name: str, before: bool) -> None:
        nonlocal failed
        due = number >= fault.number if mode.is_lasting else number == fault.number
        met = mode.code not in NO_SPACE or takes_room(name)
        if due and met and before is not mode.is_done:
            failed = True
            raise OSError(mode.code, os.strerror(mode.code))

    try:
        with around_calls(home, fail):
            film(home, fault.scene.name)
    except ArtvError as error:
        complaint.write_text(f"{error}")
        raise
    expect(failed, "the call was never made")


def _film_of(scene: Scene, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return which of the files are the film itself, without the recipe that is written last."""
    ours = (name for name in files if name == scene.name or name.startswith(f"{scene.name}/"))
    return {name: files[name] for name in ours if not name.endswith(f"/{RECIPE_FILE}")}


def _other(files: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Return the names of the files that are not as they should be."""
    return sorted(n for n in files.keys() | wanted.keys() if files.get(n) != wanted.get(n))


def resumes(home: Path, scene: Scene, after: str) -> None:
    """Make a scene's film again; it must draw only what is missing, and come to the same."""
    before, report = kept(home / ".artv"), film(home, scene.name)
    expect_resumed(before, kept(home / ".artv"), report.rendered)
    expect(report.frame_digests == scene.frames, f"{after}: other frames")
    files = stories.beside_cache(home)
    expect(files == scene.files, f"{after}: other files: {_other(files, scene.files)}")
    expect(not (left := leftovers(home, scene.name)), f"{after}: {left} left behind")
