"""Concurrent writers: two to eight processes on one story, each with or without its lock.

They start at one signal. A writer without the lock leaves it out, or is on a drive that has none.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

from standin import StandInEngine

from artv_cli.errors import CacheLocked
from artv_cli.export import Output
from artv_cli.files.durable import HOST
from artv_cli.files.output import work_prefix
from artv_cli.observer import Observer
from artv_cli.render import render
from artv_cli.story import render_story
from benchmarks.trust import stories
from benchmarks.trust.kills import Whole, undisturbed
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import (
    PLAN,
    disturbances,
    fork,
    leftovers,
    no_picture,
    stand_in,
    store_at,
    wait,
)

Work = Callable[[], object]

_PATIENCE = 60  # seconds until a writer that is kept out gives up
_TWO_DAYS = 172_800  # seconds
_FILMS = 0.1  # of the rounds
_LOCKED, _UNLOCKED, _LOCKLESS = "locked", "unlocked", "on a drive without locks"


def writers(seed: int, folder: Path) -> Iterator[Check]:
    """Yield rounds: some processes render one story at once, into a cache that others left.

    Each takes the lock or not as it likes. One round in ten writes one film from several caches.
    Rounds are told apart by whether several drew frames, or one all that were missing.
    """
    whole = undisturbed(folder / "whole")
    for rng in randoms(seed):
        yield partial(_one_film if rng.random() < _FILMS else _one_cache, rng, whole)


def _one_cache(rng: Random, whole: Whole, root: Path) -> dict[str, int]:
    number = rng.randint(2, 8)
    share = rng.choice((0.0, 0.5, 1.0))  # of the writers that take the lock
    traces = rng.choice(("none", "a stale lock", "a reused process id", "half a story"))
    _leave(traces, rng, root)
    alive = _begin_entries(root)
    ways = [
        _LOCKED if rng.random() < share else rng.choice((_UNLOCKED, _LOCKLESS))
        for _ in range(number)
    ]
    drew = root.with_name(f"{root.name}.drew")
    works = [partial(_render, root, way, whole.frames, drew) for way in ways]
    what = f"writers {', '.join(ways)}, {traces} before"
    _expect_success(works, root.with_name(f"{root.name}.txt"), what)
    expect(not (root / "quarantine").exists() and not disturbances(root), f"{what}: a torn entry")
    expect(tuple(stories.digests(PLAN, root)) == whole.frames, f"{what}: other frames")
    expect(leftovers(root) == [alive.name], f"{what}: {leftovers(root)} are left")
    several = len(drew.read_text().split()) > 1
    return {"where several drew frames" if several else "where one drew them all": 1}


def _one_film(rng: Random, whole: Whole, folder: Path) -> dict[str, int]:
    """Write one film from a cache each: whoever is last, it is whole; nothing half is left."""
    film = folder / stories.FILM
    alive = _begin_films(film)
    homes = [folder / str(number) for number in range(rng.randint(2, 4))]
    works = [partial(_film, home, film) for home in homes]
    what = f"{len(homes)} writers of one film"
    _expect_success(works, folder.with_name(f"{folder.name}.txt"), what)
    expect(stories.picture_digest(film) == whole.pictures, f"{what}: another film")
    expect(leftovers(folder) == [alive.name], f"{what}: {leftovers(folder)} are left")
    return {"of one film": 1}


def _expect_success(works: list[Work], complaint: Path, what: str) -> None:
    """Have children do all works at once."""
    signal, trigger = os.pipe()

    def at_the_signal(work: Work) -> None:
        os.close(trigger)
        os.read(signal, 1)  # nothing, as soon as nobody holds the trigger any more
        work()

    children = [fork(partial(at_the_signal, work), complaint) for work in works]
    os.close(signal)
    os.close(trigger)
    codes = [wait(child) for child in children]
    expect(not any(codes), f"{what}: exit codes {codes}: {stories.told(complaint)}")


def _film(home: Path, film: Path) -> None:
    with stand_in():
        output = Output(path=film, overwrite=True)
        render_story(stories.request(home), output, Observer())


def _render(root: Path, way: str, whole: tuple[str, ...], drew: Path) -> None:
    """Render as soon as the lock can be had; every frame read must be whole.

    The file `drew` gets the process id of whoever drew a frame.
    """
    told: list[str] = []
    store = store_at(root, told)
    deadline = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        if way == _LOCKLESS:
            stack.enter_context(mock.patch.object(fcntl, "flock", _no_locks))
        while way != _UNLOCKED:
            try:
                stack.enter_context(store.lock())
                break
            except CacheLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
        frames = list(render(PLAN, store, StandInEngine, no_picture))
    if not all(frame.reused for frame in frames):
        with open(drew, "a") as file:
            file.write(f"{os.getpid()}\n")
    digests = tuple(frame.entry.digest for frame in frames)
    expect(digests == whole, "a writer ended with other frames")
    expect(not told, f"a torn read: {told}")


def _no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _leave(traces: str, rng: Random, root: Path) -> None:
    """Leave in the cache what processes before have left."""
    if traces == "half a story":
        frames = render(PLAN, store_at(root), StandInEngine, no_picture)
        for _ in range(rng.randrange(1, len(PLAN.frames))):
            next(frames)
        frames.close()
    elif traces != "none":
        process = _dead() if traces == "a stale lock" else os.getppid()
        (root / "lock").touch()
        tag = {"pid": process, "host": HOST, "started": "2026-01-01 00:00:00"}
        (root / "lock.json").write_text(json.dumps(tag))


def _begin_entries(root: Path) -> Path:
    """Leave half of three entries beside a true one; return the one that may still be written."""
    folder = root / "frames" / PLAN.frames[0].key[:2]
    folder.mkdir(parents=True, exist_ok=True)
    dead, reused, alive = (
        folder / f"{name}.00000000.{process}.{HOST}.tmp"
        for name, process in (("dead", _dead()), ("reused", os.getppid()), ("alive", os.getpid()))
    )
    for path in (dead, reused, alive):
        path.write_bytes(b"half")
    _age(reused)
    return alive


def _begin_films(film: Path) -> Path:
    """Leave half of three films; return the folder of the one that may still be written."""
    dead, reused, alive = (
        film.with_name(f"{work_prefix(film)}{process}-x.part")
        for process in (_dead(), os.getppid(), os.getpid())
    )
    for path in (dead, reused, alive):
        path.mkdir()
        (path / f"output{film.suffix}").write_bytes(b"half")
    _age(reused / f"output{film.suffix}")
    _age(reused)
    return alive


def _age(path: Path) -> None:
    os.utime(path, (time.time() - _TWO_DAYS,) * 2)


def _dead() -> int:
    """Return the id of a process that has ended."""
    process = fork(lambda: None)
    wait(process)
    return process
