"""What a person reads on standard error: progress, notes, warnings; and how results are printed.

Standard output carries results alone (`emit`, `emit_json`, `emit_table`), so that a pipe gets
nothing else. Colour, width and animation follow the terminal and NO_COLOR, through Rich.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from artv_cli.render import Frame
from artv_cli.story import Observer

LINE_INTERVAL = 10.0  # seconds between two lines of progress where there is no terminal
RECENT_FRAMES = 32  # the pace is that of the newest frames: a machine's speed changes overnight
NARROW = 80  # columns below which the bar gives way to the figures


class Pace:
    """How fast new frames come: the time left is counted from them alone, never from reused ones.

    The median of the newest frames, so that a first frame that loads a model does not count.
    """

    def __init__(self, to_render: int) -> None:
        self.to_render = to_render
        self._recent: deque[float] = deque(maxlen=RECENT_FRAMES)

    def add(self, seconds: float) -> None:
        """Count one new frame that took `seconds`."""
        self.to_render -= 1
        self._recent.append(seconds)

    @property
    def seconds_per_frame(self) -> float | None:
        """Seconds that a new frame takes, or None before the first."""
        return statistics.median(self._recent) if self._recent else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last new frame, or None before the first."""
        pace = self.seconds_per_frame
        return None if pace is None else pace * max(0, self.to_render)


class Talk(Observer):
    """The observer that talks: animated on a terminal, plain lines elsewhere, silent if `quiet`.

    A context manager: leaving it takes the progress bar away. Warnings are said once each.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.quiet = quiet
        self.console = console or Console(stderr=True)
        self._clock = clock
        self._said: set[str] = set()
        self._frames = self._cached = self._done = 0
        self._pace = Pace(0)
        self._next_line = 0.0
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop()

    def say(self, message: str, style: str = "") -> None:
        """Print one line on standard error, as it is: no markup, no cropping."""
        if not self.quiet:
            say(message, style, self.console)

    def warn(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.say(f"warning: {message}", "yellow")

    def planned(self, cached: int, to_render: int, anchor_images: int = 0) -> None:
        self._frames, self._cached, self._done = cached + to_render, cached, 0
        self._pace = Pace(to_render)
        self._next_line = self._clock() + LINE_INTERVAL
        self.say(to_do(cached, to_render, anchor_images))
        if to_render and self.console.is_terminal and not self.quiet:
            self._start()

    def loading(self, model: str) -> None:
        self.say(f"loading {model}", "dim")

    def frame(self, frame: Frame) -> None:
        self._done += 1
        if not frame.reused:
            self._pace.add(frame.seconds)
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done, figures=self.figures())
        elif not frame.reused and self._clock() >= self._next_line:
            self._next_line = self._clock() + LINE_INTERVAL
            self.say(self.figures())

    def encoding(self, path: Path) -> None:
        self._stop()
        self.say(f"writing {path}", "dim")

    def figures(self) -> str:
        """Return frames done, seconds per new frame and time left; frames cached where they fit."""
        said = [f"frame {self._done} of {self._frames}"]
        if self._cached and not self._narrow:
            said.append(f"{self._cached} cached")
        pace, left = self._pace.seconds_per_frame, self._pace.seconds_left
        if pace is not None and left is not None:
            said += [f"{pace:.2f} s/frame", f"{duration(left)} left"]
        return ", ".join(said)

    @property
    def _narrow(self) -> bool:
        return self.console.is_terminal and self.console.width < NARROW

    def _start(self) -> None:
        figures = TextColumn("{task.fields[figures]}", markup=False)
        bar = [] if self._narrow else [BarColumn(bar_width=16)]
        self._progress = Progress(*bar, figures, console=self.console, transient=True)
        self._task = self._progress.add_task("", total=self._frames, figures=self.figures())
        self._progress.start()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def say(message: str, style: str = "", console: Console | None = None) -> None:
    """Print `message` on standard error, as it is."""
    (console or Console(stderr=True)).print(
        message, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True
    )


def emit(text: str) -> None:
    """Print a result on standard output, a path that is not UTF-8 byte by byte as it is."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def emit_json(result: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print a result on standard output as one line of JSON, bytes that are not UTF-8 escaped."""
    text = json.dumps(result, ensure_ascii=False)
    emit(text.encode("utf-8", "backslashreplace").decode())


def emit_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns: fitted to a terminal's width, never wrapped in a pipe or a file."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headers))
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 10_000
    console = Console(markup=False, highlight=False, emoji=False, width=width)
    with console.capture() as printed:
        console.print(table)
    emit("\n".join(line.rstrip() for line in printed.get().splitlines()))


def to_do(cached: int, to_render: int, anchor_images: int) -> str:
    """Return what there is and what is to be made, in one line."""
    images = f", {anchor_images} anchor image{'s' * (anchor_images > 1)} to encode"
    return f"{cached} cached, {to_render} to render{images if anchor_images else ''}"


def duration(seconds: float) -> str:
    """Return a length of time as people say it: `4 s`, `1 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def file_size(num_bytes: float) -> str:
    """Return a number of bytes in decimal units: `512 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
