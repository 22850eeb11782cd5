"""What a person hears: right figures, plain lines off a terminal, one line on a narrow one."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sample_plans import plan

from artv_cli.talk import LINE_INTERVAL, Talk

STEPS = 8  # of the stand-in model; with all guidance, four branches


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def frame(index: int = 0, *, reused: bool = False, seconds: float = 2.0) -> Any:
    target = plan({"prompt": "a cat", "frames": 2}).frames[1]
    pixels = np.full((8, 8, 3), index % 256, np.uint8)
    entry = SimpleNamespace(pixels=lambda: pixels)
    told = {"reused": reused, "is_drawn": not reused, "seconds": seconds}
    return SimpleNamespace(plan=target, entry=entry, **told)


def work(cached: int, to_render: int, anchor_images: int = 0) -> Any:
    return SimpleNamespace(
        frames=cached + to_render,
        cached=cached,
        to_render=to_render,
        to_redraw=0,
        pictures=0,
        anchor_images=anchor_images,
        effort=to_render * STEPS * 4,
    )


def talk(*, terminal: bool = False, width: int = 100, color: Any = None, **how: Any) -> Any:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width, color_system=color)
    how.setdefault("clock", Clock())
    return Talk(console=console, **how), written


def test_time_left_counts_new_frames_alone() -> None:
    speaker, _ = talk()
    speaker.planned(work(cached=100, to_render=10))
    for index in range(100):
        speaker.frame(frame(index, reused=True, seconds=0.001))
    assert speaker.figures() == "frame 100 of 110, 100 cached"
    speaker.frame(frame(100))
    speaker.frame(frame(101))
    assert speaker.figures() == "frame 102 of 110, 100 cached, 2.00 s/frame, 16 s left"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_after_ten_frames_is_right_within_a_fifth(seed: int) -> None:
    luck, clock = random.Random(seed), Clock()
    speaker, written = talk(clock=clock)
    speaker.planned(work(cached=5, to_render=100))
    seconds = [40.0] + [luck.uniform(5.0, 9.0) for _ in range(99)]
    for each in seconds[:10]:
        clock.now += each
        speaker.frame(frame(seconds=each))
    minutes, rest = re.findall(r"(\d+) min (\d+) s left", written.getvalue())[-1]
    assert int(minutes) * 60 + int(rest) == pytest.approx(sum(seconds[10:]), rel=0.2)


def test_the_time_left_goes_on_while_a_frame_is_drawn_but_never_past_it() -> None:
    clock = Clock()
    speaker, _ = talk(clock=clock)
    speaker.planned(work(cached=0, to_render=3))
    speaker.frame(frame(seconds=10.0))
    said = []
    for now in (0, 4, 10, 50):
        clock.now = now
        said.append(speaker.figures().rpartition(", ")[2])
    assert said == ["20 s left", "16 s left", "10 s left", "10 s left"]


def test_without_a_terminal_progress_is_plain_lines_at_intervals() -> None:
    clock = Clock()
    speaker, written = talk(clock=clock)
    with speaker:
        speaker.planned(work(cached=0, to_render=100))
        for index in range(100):
            clock.now += 1.0
            speaker.frame(frame(index, seconds=1.0))
    lines = written.getvalue().splitlines()
    assert lines[0] == "0 cached, 100 to render"
    assert lines[1] == "frame 10 of 100, 1.00 s/frame, 1 min 30 s left"
    assert len(lines) == 1 + 100 / LINE_INTERVAL
    assert "\x1b" not in written.getvalue()


def test_on_a_terminal_progress_is_one_moving_line_that_goes_away() -> None:
    speaker, written = talk(terminal=True)
    with speaker:
        speaker.planned(work(cached=1, to_render=2))
        speaker.frame(frame(0, reused=True))
        speaker.frame(frame(1))
        speaker.encoding(Path("film.mp4"))
    text = written.getvalue()
    assert "frame 2 of 3, 1 cached, 2.00 s/frame, 2 s left" in text
    assert "━" in text
    assert text.rstrip().endswith("writing film.mp4")


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (80, "frame 1234 of 9999, 500 cached, 12.34 s/frame, 29 h 12 min left"),
        (60, "frame 1234 of 9999, 12.34 s/frame, 29 h 12 min left"),
        (40, "frame 1234 of 9999, 29 h 12 min left"),
        (30, "1234/9999, 29 h 12 min left"),
        (10, "1234/9999"),
    ],
)
def test_a_narrow_terminal_keeps_what_matters_most(width: int, said: str) -> None:
    speaker, _ = talk()
    speaker.planned(work(cached=500, to_render=9499))
    speaker._done, speaker._frames = 1233, 9999
    speaker._pace._effort_left = 8520 * STEPS * 4
    speaker.frame(frame(seconds=12.34))
    assert speaker.figures(width) == said


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_line_of_progress_is_wider_than_the_terminal(width: int) -> None:
    speaker, written = talk(terminal=True, width=width)
    with speaker:
        speaker.planned(work(cached=100, to_render=1000))
        for index in range(3):
            speaker.frame(frame(index, seconds=1234.5))
        speaker.warn("a long warning that no narrow terminal can hold in one line of its own")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    assert max(map(len, re.split(r"[\r\n]", plain))) <= width


def test_nothing_moves_when_nothing_is_to_be_drawn() -> None:
    speaker, written = talk(terminal=True)
    with speaker:
        speaker.planned(work(cached=2, to_render=0))
        speaker.frame(frame(0, reused=True))
    assert written.getvalue() == "2 cached, 0 to render\n"


def test_nothing_moves_on_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    speaker, written = talk(terminal=True)
    with speaker:
        speaker.planned(work(cached=0, to_render=2))
        speaker.frame(frame(0))
    assert "\x1b" not in written.getvalue() and "\r" not in written.getvalue()


def test_quiet_says_nothing_at_all() -> None:
    speaker, written = talk(terminal=True, quiet=True, pictures=True, color="truecolor")
    with speaker:
        speaker.planned(work(cached=0, to_render=2))
        speaker.loading("storybook")
        speaker.frame(frame(0))
        speaker.warn("odd")
        speaker.encoding(Path("film.mp4"))
        speaker.pruned(3, 1000)
    assert written.getvalue() == ""


def test_a_warning_is_said_once() -> None:
    speaker, written = talk()
    speaker.warn("odd")
    speaker.warn("odd")
    assert written.getvalue() == "warning: odd\n"


def test_the_newest_frame_is_shown_in_half_blocks_where_there_is_colour() -> None:
    speaker, written = talk(terminal=True, color="truecolor", pictures=True)
    with speaker:
        speaker.planned(work(cached=0, to_render=2))
        speaker.frame(frame(200))
    assert "38;2;200;200;200;48;2;200;200;200m▀" in written.getvalue()
    plain, unseen = talk(terminal=True, pictures=True)
    with plain:
        plain.planned(work(cached=0, to_render=2))
        plain.frame(frame(200))
    assert "▀" not in unseen.getvalue()
