"""Killed work resumes to the same bits: at random instants, and around every file-system call."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from standin import StandInEngine

from artv_cli.files import durable
from artv_cli.story import StoryReport
from benchmarks.trust import stories
from benchmarks.trust.calls import around_calls
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import (
    FRAMES,
    SHORT_PLAN,
    disturbances,
    expect_kept,
    fork,
    kept,
    leftovers,
    stand_in,
    wait,
)

MOST_KILLS = 12  # of one story; then it is let go


class Whole(NamedTuple):
    """What a story comes to when nobody disturbs it, and how long that takes in seconds."""

    frames: tuple[str, ...]
    pictures: str
    seconds: float


def undisturbed(home: Path) -> Whole:
    """Render the story once."""
    started = time.perf_counter()
    with stand_in():
        report = stories.make_film(home)
    seconds = time.perf_counter() - started
    return Whole(report.frame_digests, stories.picture_digest(report.output), seconds)


def kills(seed: int, folder: Path) -> Iterator[Check]:
    """Yield stories that are killed again and again until they come through; proofs are kills.

    One in four is killed while its film is written as well, and its film compared.
    """
    undisturbed(folder / "warm")  # what is imported late is imported now, before the forks
    whole = undisturbed(folder / "whole")
    for rng in randoms(seed):
        yield partial(_killed_film if rng.random() < 0.25 else _killed_frames, rng, whole)


def _killed_frames(rng: Random, whole: Whole, home: Path) -> int:
    cache = home / ".artv"
    work = partial(stories.digests, stories.PLAN, cache)
    landed = _kill_until_through(rng, work, cache, seconds=0.05)
    before = kept(cache)
    frames = stories.frames(stories.PLAN, cache)
    expect(tuple(frame.entry.digest for frame in frames) == whole.frames, "other frames")
    expect_resumed(before, kept(cache), sum(not frame.reused for frame in frames))
    expect(not leftovers(home), "the next render sweeps what a kill left")
    return landed


def _killed_film(rng: Random, whole: Whole, home: Path) -> int:
    cache = home / ".artv"
    landed = _kill_until_through(rng, partial(film, home), cache, seconds=whole.seconds)
    before, report = kept(cache), film(home)
    expect_resumed(before, kept(cache), report.rendered)
    expect(report.frame_digests == whole.frames, "other frames")
    expect(stories.picture_digest(report.output) == whole.pictures, "another film")
    expect(not list(cache.rglob("*.tmp")), "the next render sweeps what a kill left")
    return landed


def expect_resumed(before: dict[str, bytes], after: dict[str, bytes], drawn: int) -> None:
    """Raise AssertionError unless what was finished was kept, and only the rest was drawn."""
    expect_kept(before, after, "after the last kill")
    expect(drawn == len(after) - len(before), f"{drawn} frames drawn, {len(before)} were there")


def _kill_until_through(
    rng: Random, work: Callable[[], object], cache: Path, *, seconds: float
) -> int:
    """Have children do `work` and kill each, until one comes through; return how many died.

    A frame that was finished when one is killed must be there when the next one is.
    """
    landed = 0
    before: dict[str, bytes] = {}
    while landed < MOST_KILLS:
        place = rng.choice((None, None, *PLACES))
        if place is None:
            child = fork(work)
            time.sleep(rng.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        else:
            child = fork(partial(_killed_at_place, work, PLACES[place], rng.randrange(FRAMES)))
        code = wait(child)
        expect(code in (0, -signal.SIGKILL), f"the child ended with {code}, {place}")
        expect(not (found := disturbances(cache)), f"killed {place}: {found}")
        expect_kept(before, before := kept(cache), f"killed {place}")
        if code == 0:
            break
        landed += 1
    return landed


def film(home: Path) -> StoryReport:
    with stand_in():
        return stories.make_film(home)


def _killed_at_place(work: Callable[[], object], place: tuple[Any, str], passes: int) -> None:
    """Work, and be killed when `place` is reached after so many passes."""
    owner, name = place
    original, passed = getattr(owner, name), count()

    def fatal(*args: Any, **kwargs: Any) -> Any:
        if next(passed) == passes:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    with mock.patch.object(owner, name, fatal):
        work()


PLACES: dict[str, tuple[Any, str]] = {
    "in the model": (StandInEngine, "next_frame"),
    "in the decoder": (StandInEngine, "decode"),
    "before a sync": (os, "fsync"),
    "between write and rename": (os, "replace"),
    "after the rename": (durable, "sync_folder"),
    "in the encoder": (np, "pad"),  # once for each frame that is fed to ffmpeg
}


def kills_around_calls(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a kill before and one after every call to the file system that a render makes."""
    stories.digests(SHORT_PLAN, folder / "warm")
    whole = stories.digests(SHORT_PLAN, folder / "whole")
    total = count_calls(folder / "count", partial(stories.digests, SHORT_PLAN, folder / "count"))
    cases = list(product(range(total), (True, False)))
    Random(seed).shuffle(cases)
    for case in cases:
        yield partial(_killed_at, case, whole)


def count_calls(folder: Path, work: Callable[[], object]) -> int:
    """Return how many calls to the file system `work` makes in `folder`, which is made first."""
    folder.mkdir()
    with around_calls(folder, lambda *_: None) as counted:
        work()
        return counted()


def _killed_at(case: tuple[int, bool], whole: list[str], root: Path) -> None:
    def kill(number: int, name: str, before: bool) -> None:
        if (number, before) == case:
            os.kill(os.getpid(), signal.SIGKILL)

    def render_until_killed() -> None:
        with around_calls(root, kill):
            stories.digests(SHORT_PLAN, root)

    code = wait(fork(render_until_killed))
    expect(code == -signal.SIGKILL, f"the child ended with {code} at call {case}")
    expect(not (found := disturbances(root)), f"after a kill at call {case}: {found}")
    before, frames = kept(root), stories.frames(SHORT_PLAN, root)
    digests = [frame.entry.digest for frame in frames]
    expect(digests == whole, f"other frames after a kill at call {case}")
    expect_resumed(before, kept(root), sum(not frame.reused for frame in frames))
    expect(not leftovers(root), "the next render sweeps what a kill left")
