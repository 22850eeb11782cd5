"""A full disk is clean: no room at any byte of an entry, and disks of any number of pages."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.trust import stories
from benchmarks.trust.faults import DONE, STORAGE, Scene, resumes, scenes
from benchmarks.trust.kills import expect_resumed, film
from benchmarks.trust.proof import Check, expect
from benchmarks.trust.stories import FILM, SHORT_PLAN, disturbances, fork, kept, told, wait

PAGE = 4096
_ROOM = 200 * PAGE  # more than the story and its film need


def limits(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a limit on the size of files at every byte of an entry."""
    whole = stories.digests(SHORT_PLAN, folder / "cache")
    longest = max(path.stat().st_size for path in folder.rglob("*.artv"))
    sizes = list(range(longest + 1))
    Random(seed).shuffle(sizes)
    for size in sizes:
        yield partial(_limited, size, longest, whole)


def full_disks(seed: int, folder: Path) -> Iterator[Check]:
    """Yield disks of every number of pages that is too small; none where none may be mounted."""
    if not _may_mount(folder / "disk"):
        return
    scene, _ = scenes(FILM, folder / FILM)
    sizes = list(range(1, _pages(folder / FILM / "whole") + 1))
    Random(seed).shuffle(sizes)
    for pages in sizes:
        yield partial(_filled, pages, scene)


def _limited(limit: int, longest: int, whole: list[str], root: Path) -> None:
    stories.store_at(root).prepare()  # which writes a file of its own

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        stories.digests(SHORT_PLAN, root)

    code = wait(fork(work, complaint := root / "complaint"))
    wanted = DONE if limit >= longest else STORAGE
    said, what = told(complaint), f"files of {limit} bytes"
    expect(code == wanted, f"{what}: exit code {code}, not {wanted}: {said}")
    expect(not (found := disturbances(root)), f"{what}: {found}")
    expect(not list(root.rglob("*.tmp")), f"{what}: half of one is left")
    before, again = kept(root), stories.frames(SHORT_PLAN, root)
    expect_resumed(before, kept(root), sum(not frame.reused for frame in again))
    expect([frame.entry.digest for frame in again] == whole, f"{what}: other frames")


def _filled(pages: int, scene: Scene, home: Path) -> None:
    """Render onto a disk that is too small, then make room and render on."""
    complaint = home.with_name(f"{home.name}.txt")
    what = f"a disk of {pages} pages"
    _mount(home, pages * PAGE)
    try:
        code = wait(fork(partial(film, home), complaint))
        expect(code in (DONE, STORAGE), f"{what}: exit code {code}: {told(complaint)}")
        expect(not (found := disturbances(home / ".artv")), f"{what}: {found}")
        done = code != DONE or stories.beside_cache(home) == scene.files
        expect(done, f"{what}: exit code 0, but another film")
        _mount(home, _ROOM, "remount,")
        resumes(home, scene, what)
    finally:
        subprocess.run(["umount", "-l", home], check=True, capture_output=True)


def _pages(home: Path) -> int:
    """Return how many pages a whole story takes, its films old and new included."""
    files = [path for path in home.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // PAGE) for path in files) + len(list(home.rglob("*"))) // 8


def _mount(place: Path, size: int, how: str = "") -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "none", str(place)]
    subprocess.run(command, check=True, capture_output=True)


def _may_mount(place: Path) -> bool:
    """Tell whether this process may mount a disk; only tests of full ones need it."""
    place.mkdir()
    try:
        _mount(place, PAGE)
        subprocess.run(["umount", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
