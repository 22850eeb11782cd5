"""Stories to disturb: rendered by the stand-in engine, in this process or in a forked one."""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from conftest import stand_in_model
from standin import ENVIRONMENT, StandInEngine, story

from artv_cli.cache.store import FrameStore
from artv_cli.cli import exit_code
from artv_cli.errors import ArtvError
from artv_cli.export import Output
from artv_cli.media.probe import read_frames
from artv_cli.observer import Observer
from artv_cli.plan import FramePlan, ModelIdentity, RenderPlan, make_plan
from artv_cli.render import Frame, render
from artv_cli.story import StoryReport, StoryRequest, render_story
from benchmarks.trust.proof import expect

SEGMENTS: tuple[dict[str, Any], ...] = (
    {"prompt": "a cat walks", "frames": 9},
    {"prompt": "the cat jumps", "frames": 8, "narration": "And then"},
    {"prompt": "a rocket flies", "frames": 7, "start": "cut", "fade": 2},
)
FRAMES = 24
MODEL = ModelIdentity.of(stand_in_model("stand-in"))
PLAN = make_plan(story(*SEGMENTS), MODEL, {})
SHORT: dict[str, Any] = {"prompt": "a cat walks", "frames": 3, "narration": "Once"}
SHORT_PLAN = make_plan(story(SHORT), MODEL, {})
FILM = "film.mp4"
UNEXPECTED = 70  # exit code of a child that failed in a way that no person was told about


def store_at(root: Path, told: list[str] | None = None) -> FrameStore:
    """Return the cache at `root`; `told` gets its warnings."""
    warn = (lambda _: None) if told is None else told.append
    return FrameStore(root, environment=ENVIRONMENT, warn=warn)


def no_picture(target: FramePlan) -> Any:
    """Stand for the pictures of a story that has none."""
    raise AssertionError(f"{target.name} is no image")


def frames(plan: RenderPlan, root: Path, *, locked: bool = True) -> list[Frame]:
    """Render a story's frames and return them."""
    store = store_at(root)
    with store.lock() if locked else nullcontext():
        return list(render(plan, store, StandInEngine, no_picture))


def digests(plan: RenderPlan, root: Path, *, locked: bool = True) -> list[str]:
    """Render a story's frames and return their digests."""
    return [frame.entry.digest for frame in frames(plan, root, locked=locked)]


def kept(root: Path) -> dict[str, bytes]:
    """Return the finished frames of the cache at `root`: the files of its entries, by name."""
    return {path.name: path.read_bytes() for path in root.glob("frames/*/*.artv")}


def expect_kept(before: Mapping[str, bytes], after: Mapping[str, bytes], when: str) -> None:
    """Raise AssertionError if a frame that was finished `before` is gone or another one."""
    lost = [name for name, content in before.items() if after.get(name) != content]
    expect(not lost, f"{when}: {len(lost)} of {len(before)} finished frames are lost")


def disturbances(root: Path) -> list[str]:
    """Return what a reader would complain of: files that are not whole, true entries."""
    told: list[str] = []
    store_at(root, told).verify()
    return told


def leftovers(home: Path, film: str = FILM) -> list[str]:
    """Return the names of what was begun, not finished, and not swept by the next render of a film.

    A side file's work folder goes when that file is written next.
    """
    begun = sorted(path.name for path in home.rglob("*") if path.suffix in (".tmp", ".part"))
    return [name for name in begun if name.endswith(".tmp") or name.startswith(f".{film}.")]


@contextmanager
def stand_in(engine: Callable[[], Any] = StandInEngine) -> Iterator[None]:
    """Have every story drawn by the stand-in engine, or by another one."""
    name = "artv_cli.artv_engine"
    before = sys.modules.get(name)
    with ExitStack() as stack:
        stack.enter_context(mock.patch("artv_cli.story.find_model", stand_in_model))
        sys.modules[name] = SimpleNamespace(load_engine=lambda *_, **__: engine())  # type: ignore[assignment]
        try:
            yield
        finally:
            sys.modules.pop(name)
            if before is not None:
                sys.modules[name] = before


def request(home: Path, *segments: dict[str, Any], **film: Any) -> StoryRequest:
    """Return the request for a story, SEGMENTS unless others are named."""
    return StoryRequest(storyboard=story(*(segments or SEGMENTS), **film), home=home)


def make_film(home: Path, name: str = FILM, *segments: dict[str, Any]) -> StoryReport:
    """Render the story of SEGMENTS, or others, into the file `name`, with its cache beside it."""
    return render_story(request(home, *segments), Output(path=home / name), Observer())


def beside_cache(home: Path) -> dict[str, bytes]:
    """Return the finished files beside a story's cache: its film, subtitles and recipe, by name."""
    shown = [path for path in home.iterdir() if not path.name.startswith(".")]
    files = [file for path in shown for file in (path.iterdir() if path.is_dir() else [path])]
    whole = [file for file in files if not file.name.startswith(".")]
    return {str(file.relative_to(home)): file.read_bytes() for file in whole}


def picture_digest(film: Path) -> str:
    """Return a digest of a film's decoded frames."""
    total = hashlib.sha256()
    for pixels in read_frames(film):
        total.update(repr(pixels.shape).encode() + pixels.tobytes())
    return total.hexdigest()


def fork(work: Callable[[], object], complaint: Path | None = None) -> int:
    """Run `work` in a child process and return its id.

    The child ends as the command line would: 0, or the exit code of what was raised; UNEXPECTED
    where that is no error that artv tells a person about. The file `complaint` tells what it was.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: none runs
        child = os.fork()
    if child:
        return child
    code = UNEXPECTED
    try:
        work()
        code = 0
    except BaseException as error:
        if isinstance(error, ArtvError | KeyboardInterrupt):
            code = exit_code(error)
        if complaint is not None and not complaint.exists():
            complaint.write_text(_where(error))
    finally:
        os._exit(code)


def told(complaint: Path) -> str:
    """Return what a child wrote into its `complaint`, or nothing."""
    return complaint.read_text() if complaint.exists() else ""


def _where(error: BaseException) -> str:
    """Return an error and the way to it through artv, in one line."""
    steps = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(s.filename).name}:{s.lineno}" for s in steps if "artv_cli" in s.filename]
    return f"{type(error).__name__}: {error} at {' > '.join(ours)}"


def wait(child: int) -> int:
    """Return a child's exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
