"""Any I/O error is clean, a full disk is one of them: an exit code, a valid cache, and resume."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from typing import NamedTuple

from artv_cli.errors import ArtvError
from benchmarks.trust import stories
from benchmarks.trust.calls import around_calls
from benchmarks.trust.kills import Whole, count_calls, expect_resumed, film, undisturbed
from benchmarks.trust.proof import Check, expect
from benchmarks.trust.stories import (
    FILM,
    SHORT_PLAN,
    disturbances,
    fork,
    kept,
    leftovers,
    told,
    wait,
)

DONE, FAILED, USAGE, STORAGE = 0, 1, 2, 5  # exit codes
PAGE = 4096
_ROOM = 200 * PAGE  # more than the story and its film need


class Fault(NamedTuple):
    """The call that fails, whether all after it do so as well, and with which error."""

    number: int
    is_lasting: bool
    code: int


def failing_calls(seed: int, folder: Path) -> Iterator[Check]:
    """Yield every call of a 24-frame story and its export, failing once and from then on."""
    undisturbed(folder / "warm")
    whole = undisturbed(folder / "whole")
    total = count_calls(folder / "count", partial(film, folder / "count"))
    modes = product((False, True), (errno.EIO, errno.ENOSPC))
    faults = [Fault(number, *mode) for number, mode in product(range(total), modes)]
    Random(seed).shuffle(faults)
    for fault in faults:
        yield partial(_survives, fault, whole)


def _survives(fault: Fault, whole: Whole, home: Path) -> None:
    complaint = home.with_name(f"{home.name}.txt")
    failed: list[str] = []

    def fail(number: int, name: str, before: bool) -> None:
        due = number >= fault.number if fault.is_lasting else number == fault.number
        if before and due:
            failed.append(name)
            raise OSError(fault.code, os.strerror(fault.code))

    def work() -> None:
        try:
            with around_calls(home, fail):
                film(home)
        except ArtvError as error:
            complaint.write_text(f"{error}")
            raise

    code = wait(fork(work, complaint))
    said = told(complaint)
    expect(code in (DONE, FAILED, STORAGE), f"{fault}: exit code {code}: {said}")
    expect(code == DONE or said.strip(), f"{fault}: nothing was said")
    expect(not (found := disturbances(home / ".artv")), f"{fault}: {found}")
    _resumes(home, whole, f"{fault}")


def _resumes(home: Path, whole: Whole, after: str) -> None:
    before, report = kept(home / ".artv"), film(home)
    expect_resumed(before, kept(home / ".artv"), report.rendered)
    expect(report.frame_digests == whole.frames, f"{after}: other frames")
    expect(stories.picture_digest(report.output) == whole.pictures, f"{after}: another film")
    # A side file's work folder goes when that file is written next.
    left = [name for name in leftovers(home) if name.startswith(f".{FILM}") or ".tmp" in name]
    expect(not left, f"{after}: {left} left behind")


def full_disks(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a limit on the size of files at every byte of an entry, and disks of few pages."""
    whole = stories.digests(SHORT_PLAN, folder / "cache")
    longest = max(path.stat().st_size for path in folder.rglob("*.artv"))
    undisturbed(folder / "warm")
    story = undisturbed(folder / "whole")
    pages = range(1, _pages(folder / "whole") + 1) if _may_mount(folder / "disk") else ()
    cases: list[Check] = [
        *(partial(_limited, limit, longest, whole) for limit in range(longest + 1)),
        *(partial(_filled, size, story) for size in pages),
    ]
    Random(seed).shuffle(cases)
    yield from cases


def _limited(limit: int, longest: int, whole: list[str], root: Path) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        stories.digests(SHORT_PLAN, root)

    code = wait(fork(work, complaint := root / "complaint"))
    wanted = DONE if limit >= longest else STORAGE
    said = told(complaint)
    expect(code == wanted, f"files of {limit} bytes: exit code {code}, not {wanted}: {said}")
    expect(not (found := disturbances(root)), f"files of {limit} bytes: {found}")
    expect(not list(root.rglob("*.tmp")), f"files of {limit} bytes: half of one is left")
    before, again = kept(root), stories.frames(SHORT_PLAN, root)
    expect_resumed(before, kept(root), sum(not frame.reused for frame in again))
    same = [frame.entry.digest for frame in again] == whole
    expect(same, f"files of {limit} bytes: other frames")


def _filled(pages: int, whole: Whole, home: Path) -> None:
    """Render onto a disk that is too small, then make room and render on."""
    complaint = home.with_name(f"{home.name}.txt")
    _mount(home, pages * PAGE)
    try:
        code = wait(fork(partial(film, home), complaint))
        said = told(complaint)
        expect(code in (DONE, STORAGE), f"a disk of {pages} pages: exit code {code}: {said}")
        expect(not (found := disturbances(home / ".artv")), f"a disk of {pages} pages: {found}")
        _mount(home, _ROOM, "remount,")
        _resumes(home, whole, f"a disk of {pages} pages")
    finally:
        subprocess.run(["umount", "-l", home], check=True, capture_output=True)


def _pages(home: Path) -> int:
    """Return how many pages a whole story takes, its films old and new included."""
    files = [path for path in home.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // PAGE) for path in files) + len(list(home.rglob("*"))) // 8


def _mount(place: Path, size: int, how: str = "") -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "none", place]
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
