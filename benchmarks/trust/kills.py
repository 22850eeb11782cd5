"""Killed work resumes to the same bits: at random instants, and around every file-system call."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count, product
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from standin import StandInEngine

from artv_cli import export
from artv_cli.files import durable, output
from artv_cli.story import StoryReport
from benchmarks.trust import stories
from benchmarks.trust.calls import around_calls
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import (
    FILM,
    FRAMES,
    SHORT,
    disturbances,
    expect_kept,
    fork,
    kept,
    leftovers,
    stand_in,
    told,
    wait,
)

MOST_KILLS = 12  # of one story; then it is let go
ANYWHERE = "anywhere"  # where a kill lands that only the clock decides


class Place(NamedTuple):
    """The owner and the name of a function that is called there.

    `passes`: how often a film calls it; None where it does so for every frame.
    """

    owner: Any
    name: str
    passes: int | None = None


AROUND_A_COMMIT = {
    "before a sync": Place(os, "fsync"),
    "between write and rename": Place(os, "replace"),
    "before a folder is synced": Place(durable, "sync_folder"),
}
PLACES = AROUND_A_COMMIT | {
    "in the model": Place(StandInEngine, "next_frame"),
    "in the decoder": Place(StandInEngine, "decode"),
}
IN_FILM = {
    "in the encoder": Place(np, "pad"),  # each frame that is fed to ffmpeg
    # History, film, subtitles, recipe; and what frames took, where any was drawn.
    "before an output takes its place": Place(output, "_take_place", 5),
    "after an output took its place": Place(output, "sync_folder", 5),
    "between film and subtitles": Place(export, "write_srt", 1),
    "between subtitles and recipe": Place(export, "write_sidecar", 1),
}


class Whole(NamedTuple):
    """What a story comes to when nobody disturbs it, and how long that takes in seconds.

    `files` are those beside its cache: film, subtitles and recipe.
    """

    frames: tuple[str, ...]
    pictures: str
    files: dict[str, bytes]
    seconds: float


def undisturbed(home: Path, name: str = FILM) -> Whole:
    """Render the story once."""
    started = time.perf_counter()
    report = film(home, name)
    seconds = time.perf_counter() - started
    return whole_of(report, home, seconds)


def whole_of(report: StoryReport, home: Path, seconds: float) -> Whole:
    """Return what a story came to that nobody disturbed."""
    pictures = stories.picture_digest(report.output)
    return Whole(report.frame_digests, pictures, stories.beside_cache(home), seconds)


def kills(seed: int, folder: Path) -> Iterator[Check]:
    """Yield stories that are killed again and again until they come through; proofs are kills.

    One in four is killed while its film is written as well, and its film compared.
    """
    undisturbed(folder / "warm")  # what is imported late is imported now, before the forks
    whole = undisturbed(folder / "whole")
    for rng in randoms(seed):
        yield partial(_killed_film if rng.random() < 0.25 else _killed_frames, rng, whole)


def _killed_frames(rng: Random, whole: Whole, home: Path) -> Counter[str]:
    cache = home / ".artv"
    work = partial(stories.digests, stories.PLAN, cache)
    landed = kill_until_through(rng, work, cache, PLACES, seconds=0.05)
    before = kept(cache)
    frames = stories.frames(stories.PLAN, cache)
    expect(tuple(frame.entry.digest for frame in frames) == whole.frames, "other frames")
    expect_resumed(before, kept(cache), sum(not frame.reused for frame in frames))
    expect(not leftovers(home), "the next render sweeps what a kill left")
    return landed


def _killed_film(rng: Random, whole: Whole, home: Path) -> Counter[str]:
    cache, places = home / ".artv", PLACES | IN_FILM
    landed = kill_until_through(rng, partial(film, home), cache, places, seconds=whole.seconds)
    before, report = kept(cache), film(home)
    expect_resumed(before, kept(cache), report.rendered)
    expect(report.frame_digests == whole.frames, "other frames")
    expect(stories.picture_digest(report.output) == whole.pictures, "another film")
    expect(stories.beside_cache(home) == whole.files, "other files beside the film")
    expect(not list(cache.rglob("*.tmp")), "the next render sweeps what a kill left")
    return landed


def expect_resumed(before: dict[str, bytes], after: dict[str, bytes], drawn: int) -> None:
    """Raise AssertionError unless what was finished was kept, and only the rest was drawn."""
    expect_kept(before, after, "after the last kill")
    expect(drawn == len(after) - len(before), f"{drawn} frames drawn, {len(before)} were there")


def kill_until_through(
    rng: Random,
    work: Callable[[], object],
    cache: Path,
    places: Mapping[str, Place],
    *,
    seconds: float,
    passes: int = FRAMES,
    most: int = MOST_KILLS,
) -> Counter[str]:
    """Have children do `work` and kill each, until one comes through; return where they died.

    That is at one of the `places`, after up to so many `passes`, or "anywhere" within so many
    `seconds`. A frame that was finished when one is killed must be there when the next one is.
    """
    landed: Counter[str] = Counter()
    before: dict[str, bytes] = {}
    complaint = cache.with_name("complaint.txt")
    while landed.total() < most:
        place = rng.choice((ANYWHERE, ANYWHERE, *places))
        if place == ANYWHERE:
            child = fork(work, complaint)
            time.sleep(rng.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        else:
            last = rng.randrange(places[place].passes or passes)
            fatal = partial(killed_at_place, work, places[place], last)
            child = fork(fatal, complaint)
        code = wait(child)
        said = told(complaint)
        expect(code in (0, -signal.SIGKILL), f"the child ended with {code}, {place}: {said}")
        expect(not (found := disturbances(cache)), f"killed {place}: {found}")
        expect_kept(before, before := kept(cache), f"killed {place}")
        if code == 0:
            break
        landed[place] += 1
    return landed


def film(home: Path, name: str = FILM, *segments: dict[str, Any]) -> StoryReport:
    """Make the film of the story, or of other segments, by the stand-in engine."""
    with stand_in():
        return stories.make_film(home, name, *segments)


def killed_at_place(work: Callable[[], object], place: Place, passes: int) -> None:
    """Work, and be killed when `place` is reached after so many passes."""
    owner, name, _ = place
    original, passed = getattr(owner, name), count()

    def fatal(*args: Any, **kwargs: Any) -> Any:
        if next(passed) == passes:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    with mock.patch.object(owner, name, fatal):
        work()


def kills_around_calls(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a kill before and one after every call to the file system that a short film makes."""
    film(folder / "warm", FILM, SHORT)
    whole = whole_of(film(folder / "whole", FILM, SHORT), folder / "whole", 0)
    home = folder / "count"
    home.mkdir()
    calls = calls_of(home, partial(film, home, FILM, SHORT))
    cases = list(product(range(len(calls)), (True, False)))
    Random(seed).shuffle(cases)
    for case in cases:
        yield partial(_killed_at, case, whole)


def calls_of(folder: Path, work: Callable[[], object]) -> list[str]:
    """Return the names of the calls to the file system that `work` makes in `folder`."""
    names: list[str] = []

    def note(number: int, name: str, before: bool) -> None:
        if before:
            names.append(name)

    with around_calls(folder, note):
        work()
    return names


def _killed_at(case: tuple[int, bool], whole: Whole, home: Path) -> None:
    cache = home / ".artv"

    def kill(number: int, name: str, before: bool) -> None:
        if (number, before) == case:
            os.kill(os.getpid(), signal.SIGKILL)

    def work_until_killed() -> None:
        with around_calls(home, kill):
            film(home, FILM, SHORT)

    code = wait(fork(work_until_killed))
    expect(code == -signal.SIGKILL, f"the child ended with {code} at call {case}")
    expect(not (found := disturbances(cache)), f"after a kill at call {case}: {found}")
    before, report = kept(cache), film(home, FILM, SHORT)
    expect(report.frame_digests == whole.frames, f"other frames after a kill at call {case}")
    expect(stories.beside_cache(home) == whole.files, f"other files after a kill at call {case}")
    expect_resumed(before, kept(cache), report.rendered)
    expect(not leftovers(home), "the next render sweeps what a kill left")
