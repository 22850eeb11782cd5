"""Same bits: one story, however, whenever and wherever it is rendered."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

from standin import StandInEngine

from artv_cli.render import render
from artv_cli.story import StoryReport
from benchmarks.trust import stories
from benchmarks.trust.kills import Whole, film, undisturbed
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import FRAMES, PLAN, no_picture, store_at

_TEN_YEARS = 10 * 365 * 86_400  # seconds

Way = Callable[[Random, Path], StoryReport]
"""Makes the story's film in some way in a fresh folder."""


def same_bits(seed: int, folder: Path) -> Iterator[Check]:
    """Yield every way to come to a film, a resume at every frame, then the ways again and again."""
    whole = undisturbed(folder / "whole")
    for way in WAYS:
        yield partial(_is_the_same, way, Random(seed), whole)
    for stop in range(FRAMES + 1):
        yield partial(_is_the_same, partial(_resumed, stop), Random(stop), whole)
    for rng in randoms(seed):
        yield partial(_is_the_same, rng.choice(WAYS[1:]), rng, whole)  # twice is twice, always


def _is_the_same(way: Way, rng: Random, whole: Whole, home: Path) -> None:
    report = way(rng, home)
    expect(report.frame_digests == whole.frames, f"{way}: other frames")
    expect(stories.picture_digest(report.output) == whole.pictures, f"{way}: another film")


def _resumed(stop: int, _: Random, home: Path) -> StoryReport:
    _begin(home, stop)
    return film(home)


def _twice(_: Random, home: Path) -> StoryReport:
    film(home)
    return film(home)


def _with_years_set_back(rng: Random, home: Path) -> StoryReport:
    _begin(home, rng.randrange(FRAMES))
    for path in home.rglob("*"):  # dates of files and folders, of years past and of years to come
        os.utime(path, (time.time() + rng.randint(-_TEN_YEARS, _TEN_YEARS),) * 2)
    now, clock = time.time(), time.time
    with mock.patch.object(time, "time", lambda: clock() - _TEN_YEARS):
        expect(time.time() < now, "the clock goes on")
        return film(home)


def _from_another_folder(rng: Random, home: Path) -> StoryReport:
    _begin(home, rng.randrange(FRAMES))
    elsewhere, here = home / "elsewhere", os.getcwd()
    elsewhere.mkdir()
    os.chdir(elsewhere)
    try:
        return replace(film(Path(os.pardir)), output=home / stories.FILM)
    finally:
        os.chdir(here)


def _from_a_copied_cache(rng: Random, home: Path) -> StoryReport:
    _begin(home / "one", rng.randrange(1, FRAMES))  # before its first frame there is none
    shutil.copytree(home / "one" / ".artv", home / "two" / ".artv")
    shutil.rmtree(home / "one")
    return film(home / "two")


def _on_threads(rng: Random, home: Path) -> StoryReport:
    """Render on one thread or on many at once, into one cache; then write the film."""
    with ThreadPoolExecutor(number := rng.choice((1, 2, 4, 8))) as pool:
        runs = [pool.submit(_frames, home / ".artv") for _ in range(number)]
        frames = {tuple(run.result()) for run in runs}
    expect(len(frames) == 1, f"{number} threads: {len(frames)} different stories")
    return film(home)


def _after_a_longer_story(rng: Random, home: Path) -> StoryReport:
    """Render another story that begins alike into the same cache first."""
    longer = [dict(segment) for segment in stories.SEGMENTS]
    longer[rng.randrange(len(longer))]["frames"] += rng.randrange(1, 9)
    plan = stories.make_plan(stories.story(*longer), stories.MODEL, {})
    stories.digests(plan, home / ".artv")
    return film(home)


def _frames(root: Path) -> list[str]:
    return [f.entry.digest for f in render(PLAN, store_at(root), StandInEngine, no_picture)]


def _begin(home: Path, stop: int) -> None:
    """Render that many frames of the story and stop."""
    frames = render(PLAN, store_at(home / ".artv"), StandInEngine, no_picture)
    for _ in range(stop):
        next(frames)
    frames.close()


WAYS: tuple[Way, ...] = (
    _twice,
    _with_years_set_back,
    _from_another_folder,
    _from_a_copied_cache,
    _on_threads,
    _after_a_longer_story,
)
