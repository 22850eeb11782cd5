"""Concurrent writers: two to eight processes on one story, with and without its lock."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random

from standin import StandInEngine

from artv_cli.errors import CacheLocked
from artv_cli.files.durable import HOST
from artv_cli.render import render
from benchmarks.trust import stories
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import PLAN, disturbances, fork, leftovers, no_picture, store_at, wait

_PATIENCE = 60  # seconds until a writer that is kept out gives up


def writers(seed: int, folder: Path) -> Iterator[Check]:
    """Yield rounds: some processes render one story at once, into a cache that others left."""
    whole = stories.digests(PLAN, folder / "whole")
    for rng in randoms(seed):
        yield partial(_agree, rng, whole)


def _agree(rng: Random, whole: list[str], root: Path) -> None:
    number, locked = rng.randint(2, 8), rng.random() < 0.5
    traces = rng.choice(("none", "a stale lock", "a reused process id", "half a story"))
    _leave(traces, rng, root)
    complaint = root.with_name(f"{root.name}.txt")
    work = partial(_write, root, locked, whole)
    codes = [wait(child) for child in [fork(work, complaint) for _ in range(number)]]
    what = f"{number} writers, locks {'on' if locked else 'off'}, {traces} before"
    expect(not any(codes), f"{what}: exit codes {codes}: {stories.told(complaint)}")
    expect(not (root / "quarantine").exists() and not disturbances(root), f"{what}: a torn entry")
    expect(stories.digests(PLAN, root) == whole, f"{what}: other frames")
    expect(not leftovers(root), f"{what}: something half written is left")


def _write(root: Path, locked: bool, whole: list[str]) -> None:
    """Render as soon as the lock can be had; every frame read must be whole."""
    told: list[str] = []
    store = store_at(root, told)
    deadline = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while locked:
            try:
                stack.enter_context(store.lock())
                break
            except CacheLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
        frames = [f.entry.digest for f in render(PLAN, store, StandInEngine, no_picture)]
    expect(frames == whole, "a writer ended with other frames")
    expect(not told, f"a torn read: {told}")


def _leave(traces: str, rng: Random, root: Path) -> None:
    """Leave in the cache what processes before have left."""
    if traces == "half a story":
        frames = render(PLAN, store_at(root), StandInEngine, no_picture)
        for _ in range(rng.randrange(1, len(PLAN.frames))):
            next(frames)
        frames.close()
    elif traces != "none":
        dead = fork(lambda: None)
        wait(dead)
        process = dead if traces == "a stale lock" else os.getppid()
        (root / "lock").touch()
        tag = {"pid": process, "host": HOST, "started": "2026-01-01 00:00:00"}
        (root / "lock.json").write_text(json.dumps(tag))
