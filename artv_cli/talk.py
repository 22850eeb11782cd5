"""What a person hears on standard error while a story is made: progress, notes, warnings."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from artv_cli.console import duration, error_console, file_size, say, to_do
from artv_cli.observer import Observer, Work
from artv_cli.pace import Pace
from artv_cli.preview import PREVIEW_INTERVAL, can_show, half_blocks
from artv_cli.render import Frame
from artv_cli.timings import effort

LINE_INTERVAL = 10.0  # seconds between two lines of progress where there is no terminal
_BAR = 16  # columns of the bar
_NARROW = 60  # columns below which the bar gives way to the figures
_PICTURE = (64, 20)  # columns and rows of a preview, at most; half of a small terminal's rows


class Talk(Observer):
    """The observer that talks: animated on a terminal, plain lines elsewhere, silent if `quiet`.

    `pictures` shows the newest frame above the bar, in terminals that can. A context manager:
    leaving it takes bar and picture away. Warnings are said once each.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        pictures: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.quiet = quiet
        self.console = console or error_console()
        self._pictures = pictures and can_show(self.console)
        self._clock = clock
        self._said: set[str] = set()
        self._frames = self._cached = self._done = 0
        self._pace = Pace(0)
        self._last_frame = self._next_line = self._next_picture = 0.0
        self._live: Live | None = None
        self._line = _Line(self)

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

    def planned(self, work: Work) -> None:
        self._frames, self._cached, self._done = work.frames, work.cached, 0
        self._pace = Pace(work.effort)
        self._last_frame = self._clock()
        self._next_line = self._last_frame + LINE_INTERVAL
        self.say(to_do(work.cached, work.to_render, work.pictures, work.anchor_images))
        if work.to_redraw:
            self.say(f"{work.to_redraw} cached frames are drawn again for their masks", "dim")
        if (work.to_render or work.to_redraw) and self.console.is_interactive and not self.quiet:
            self._start()

    def loading(self, model: str) -> None:
        self.say(f"loading {model}", "dim")

    def drawing(self, prompt: str) -> None:
        self.say(f"drawing the picture of {prompt}", "dim")

    def frame(self, frame: Frame) -> None:
        self._done += 1
        self._last_frame = self._clock()
        if frame.is_drawn:
            self._pace.add(frame.seconds, effort(frame.plan))
        if self._live is not None:
            self._show(frame)
            self._live.refresh()
        elif frame.is_drawn and self._last_frame >= self._next_line:
            self._next_line = self._last_frame + LINE_INTERVAL
            self.say(self.figures())

    def encoding(self, path: Path) -> None:
        self._stop()
        self.say(f"writing {path}", "dim")

    def pruned(self, files: int, size: int) -> None:
        self.say(f"removed {files} files, {file_size(size)}: the cache is kept within its limit")

    def figures(self, width: int = 1000) -> str:
        """Return frames done, seconds per new frame and time left: as much as fits in `width`."""
        done = f"frame {self._done} of {self._frames}"
        short = f"{self._done}/{self._frames}"
        pace, left = self._pace.seconds_per_frame, self._seconds_left()
        cached = f", {self._cached} cached" if self._cached else ""
        if pace is None or left is None:
            forms = [f"{done}{cached}", done, short]
        else:
            speed, rest = f"{pace:.2f} s/frame", f"{duration(left)} left"
            forms = [
                f"{done}{cached}, {speed}, {rest}",
                f"{done}, {speed}, {rest}",
                f"{done}, {rest}",
                f"{short}, {rest}",
                short,
            ]
        return next((form for form in forms if len(form) <= width), short)

    def _seconds_left(self) -> float | None:
        """Return the time left; it goes on while a frame is drawn, but not past that frame."""
        left, pace = self._pace.seconds_left, self._pace.seconds_per_frame
        if left is None or pace is None:
            return None
        return max(0.0, left - min(pace, self._clock() - self._last_frame))

    @property
    def progress(self) -> tuple[int, int]:
        """Frames in all, and frames done."""
        return self._frames, self._done

    def _start(self) -> None:
        self._live = Live(self._line, console=self.console, transient=True, refresh_per_second=4)
        self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self, frame: Frame) -> None:
        is_due = frame.is_drawn and self._last_frame >= self._next_picture
        if self._pictures and is_due:
            self._next_picture = self._last_frame + PREVIEW_INTERVAL
            columns = min(_PICTURE[0], self.console.width - 1)
            rows = min(_PICTURE[1], self.console.height // 2)
            self._line.picture = half_blocks(frame.entry.pixels(), columns, rows)


class _Line:
    """One moving line: a bar where there is room for it, and the figures; a picture above it."""

    def __init__(self, talk: Talk) -> None:
        self.picture: RenderableType | None = None
        self._talk = talk

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.picture is not None:
            yield self.picture
        width = options.max_width - 1  # some terminals wrap when the last column is written
        figures = Text(self._talk.figures(width), no_wrap=True, overflow="ellipsis")
        if width < _NARROW or len(self._talk.figures()) + 1 + _BAR > width:
            yield figures
            return
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(ProgressBar(*self._talk.progress, width=_BAR), figures)
        yield line
