"""Killed anywhere, failing anywhere, in many processes at once: the same bits in the end.

Children are forked from this process, so that a kill costs milliseconds and not an import.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from standin import ENVIRONMENT, MODEL, StandInEngine, story

from artv_cli.cache import store as cache
from artv_cli.cache.store import FrameStore
from artv_cli.errors import StorageError
from artv_cli.files import durable
from artv_cli.plan import RenderPlan, make_plan
from artv_cli.render import render

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

STORY = make_plan(
    story(
        {"prompt": "a cat walks", "frames": 9},
        {"prompt": "the cat jumps", "frames": 8},
        {"prompt": "a rocket flies", "frames": 7, "start": "cut"},
    ),
    MODEL,
    {},
)
SHORT = make_plan(story({"prompt": "a cat walks", "frames": 3}), MODEL, {})


def store_at(root: Path, warnings: list[str] | None = None) -> FrameStore:
    warn = (lambda _: None) if warnings is None else warnings.append
    return FrameStore(root, environment=ENVIRONMENT, warn=warn)


def digests(plan: RenderPlan, root: Path, *, locked: bool = True) -> list[str]:
    """Render a story and return its frames' digests."""
    store = store_at(root)
    with store.lock() if locked else nullcontext():
        frames = render(plan, store, StandInEngine, pytest.fail)
        return [frame.entry.digest for frame in frames]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """The digests of stories that nobody disturbed, by their number of frames."""
    root = tmp_path_factory.mktemp("undisturbed")
    return {len(plan.frames): digests(plan, root / str(id(plan))) for plan in (STORY, SHORT)}


def fork(work: Callable[[], object]) -> int:
    """Run `work` in a child process and return its id; exit code 0 when it came through."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def wait(child: int) -> int:
    """Return a child's exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def disturbances(root: Path) -> list[str]:
    """What a reader would complain of: files that are not whole, true entries."""
    warnings: list[str] = []
    store_at(root, warnings).verify()
    return warnings


def kill_at_random_instants(root: Path, kills: int, seed: int) -> Iterator[list[str]]:
    """Land that many kills on renders of STORY; yield the digests of each story that came through.

    A story is killed and resumed until it is whole, then the next one begins from nothing.
    """
    instants = random.Random(seed)
    started = time.perf_counter()
    digests(STORY, root / "pace")
    duration = time.perf_counter() - started
    landed = 0
    for number in itertools.count():
        place = root / str(number)
        while True:
            child = fork(lambda place=place: digests(STORY, place))  # type: ignore[misc]
            time.sleep(instants.uniform(0, duration / 3))
            os.kill(child, signal.SIGKILL)
            came_through = wait(child) == 0
            landed += not came_through
            assert not disturbances(place)
            if came_through or landed >= kills:
                break
        yield digests(STORY, place)
        assert not list(place.rglob("*.tmp")), "the next render sweeps what a kill left"
        if landed >= kills:
            return


def test_a_story_killed_at_24_random_instants_ends_in_the_same_bits(
    tmp_path: Path, whole: dict[int, list[str]]
) -> None:
    stories = list(kill_at_random_instants(tmp_path, kills=24, seed=1))
    assert stories == [whole[24]] * len(stories)


FILE_CALLS = [(os, "fsync"), (os, "replace"), (os, "open"), (Path, "mkdir"), (durable, "open")]
READ_CALLS = [*FILE_CALLS, (cache, "open"), (os, "utime"), (os, "fstat"), (Path, "unlink")]


def intercept(
    patch: pytest.MonkeyPatch, calls: list[tuple[Any, str]], act: Callable[[int, bool], None]
) -> Callable[[], int]:
    """Have `act(number, before)` called around every file call; return what counts them."""
    counter = itertools.count()

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number = next(counter)
            act(number, True)
            result = original(*args, **kwargs)
            act(number, False)
            return result

        return call

    for owner, name in calls:
        original = getattr(owner, name, open)
        patch.setattr(owner, name, wrapped(original), raising=False)
    return lambda: next(counter)


def count_calls(root: Path, calls: list[tuple[Any, str]]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        counted = intercept(patch, calls, lambda number, before: None)
        digests(SHORT, root, locked=False)
        return counted()


def test_a_story_killed_before_and_after_every_call_to_the_file_system_resumes(
    tmp_path: Path, whole: dict[int, list[str]]
) -> None:
    total = count_calls(tmp_path / "count", FILE_CALLS)
    assert total > 20
    for fatal, when in itertools.product(range(total), (True, False)):
        root = tmp_path / f"{fatal}-{when}"

        def render_until_killed(fatal: int = fatal, when: bool = when, root: Path = root) -> None:
            def kill(number: int, before: bool) -> None:
                if (number, before) == (fatal, when):
                    os.kill(os.getpid(), signal.SIGKILL)

            intercept(pytest.MonkeyPatch(), FILE_CALLS, kill)
            digests(SHORT, root, locked=False)

        assert wait(fork(render_until_killed)) == -signal.SIGKILL
        assert not disturbances(root)
        assert digests(SHORT, root) == whole[3]
        assert not list(root.rglob("*.tmp"))


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_an_error_in_any_call_to_the_file_system_is_clean_and_the_story_resumes(
    tmp_path: Path, whole: dict[int, list[str]], lasting: bool
) -> None:
    half = tmp_path / "half"  # the first frame is there: reads are disturbed, too
    store = store_at(half)
    next(render(SHORT, store, StandInEngine, pytest.fail))
    shutil.copytree(half, tmp_path / "count")
    total = count_calls(tmp_path / "count", READ_CALLS)
    for failing, code in zip(range(total), itertools.cycle((errno.EIO, errno.ENOSPC))):
        root = tmp_path / str(failing)
        shutil.copytree(half, root)

        def fail(number: int, before: bool, failing: int = failing, code: int = code) -> None:
            if before and (number == failing or lasting and number > failing):
                raise OSError(code, os.strerror(code))

        with pytest.MonkeyPatch.context() as patch:
            intercept(patch, READ_CALLS, fail)
            try:
                assert digests(SHORT, root) == whole[3]
            except StorageError as error:
                assert str(root) in error.message and error.remedy
        assert not disturbances(root)
        assert digests(SHORT, root) == whole[3]


def test_processes_that_render_one_story_without_locks_end_in_the_same_bits(
    tmp_path: Path, whole: dict[int, list[str]]
) -> None:
    def render_and_compare() -> None:
        assert digests(STORY, tmp_path, locked=False) == whole[24]
        assert not disturbances(tmp_path)

    children = [fork(render_and_compare) for _ in range(4)]
    assert [wait(child) for child in children] == [0] * 4
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "quarantine").exists()
    assert digests(STORY, tmp_path) == whole[24]


def test_an_interrupt_at_any_frame_keeps_what_was_made(
    tmp_path: Path, whole: dict[int, list[str]]
) -> None:
    for stop in range(3):
        store, engine = store_at(tmp_path / str(stop)), StandInEngine()
        decode, decoded = engine.decode, itertools.count()

        def interrupted(latents: Any, decode: Any = decode, decoded: Any = decoded,
                        stop: int = stop) -> Any:  # fmt: skip
            if next(decoded) == stop:
                raise KeyboardInterrupt
            return decode(latents)

        engine.decode = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt), store.lock():
            list(render(SHORT, store, lambda engine=engine: engine, pytest.fail))  # type: ignore[misc]
        assert len(list(store.entries())) == stop
        assert digests(SHORT, store.root) == whole[3]
