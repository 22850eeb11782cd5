"""Progress, notes, tables: right figures, plain lines off a terminal, narrow on a narrow one."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from artv_cli.console import (
    LINE_INTERVAL,
    Pace,
    Talk,
    duration,
    emit,
    emit_json,
    emit_table,
    file_size,
    say,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def frame(index: int = 0, *, reused: bool = False, seconds: float = 2.0) -> Any:
    return SimpleNamespace(plan=SimpleNamespace(index=index), reused=reused, seconds=seconds)


def talk(*, terminal: bool = False, width: int = 100, **how: Any) -> tuple[Talk, io.StringIO]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width, color_system=None)
    return Talk(console=console, **how), written


def test_time_left_counts_new_frames_alone() -> None:
    speaker, _ = talk()
    speaker.planned(cached=100, to_render=10)
    for index in range(100):
        speaker.frame(frame(index, reused=True, seconds=0.001))
    assert speaker.figures() == "frame 100 of 110, 100 cached"
    speaker.frame(frame(100))
    speaker.frame(frame(101))
    assert speaker.figures() == "frame 102 of 110, 100 cached, 2.00 s/frame, 16 s left"


def test_time_left_is_right_within_a_fifth_after_ten_frames_despite_a_slow_start() -> None:
    pace = Pace(100)
    pace.add(45.0)  # the first frame warms everything up
    for seconds in (1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 3.0, 1.0):
        pace.add(seconds)
    assert pace.seconds_left == pytest.approx(90, rel=0.2)


def test_the_pace_follows_a_machine_that_slows_down() -> None:
    pace = Pace(1000)
    for seconds in [1.0] * 100 + [3.0] * 40:
        pace.add(seconds)
    assert pace.seconds_per_frame == 3.0


def test_no_time_is_left_when_a_damaged_frame_was_one_more_than_foretold() -> None:
    pace = Pace(1)
    pace.add(2.0)
    pace.add(2.0)
    assert pace.seconds_left == 0


def test_no_pace_is_claimed_before_the_first_new_frame() -> None:
    assert Pace(3).seconds_per_frame is None
    assert Pace(3).seconds_left is None


def test_without_a_terminal_progress_is_plain_lines_at_intervals() -> None:
    clock = Clock()
    speaker, written = talk(clock=clock)
    with speaker:
        speaker.planned(cached=0, to_render=100)
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
        speaker.planned(cached=1, to_render=2)
        speaker.frame(frame(0, reused=True))
        speaker.frame(frame(1))
        speaker.encoding(Path("film.mp4"))
    text = written.getvalue()
    assert "frame 2 of 3, 1 cached, 2.00 s/frame, 2 s left" in text
    assert "━" in text
    assert text.rstrip().endswith("writing film.mp4")


def test_a_narrow_terminal_keeps_the_time_left_and_drops_the_bar() -> None:
    speaker, written = talk(terminal=True, width=50)
    with speaker:
        speaker.planned(cached=100, to_render=100)
        speaker.frame(frame(0))
    assert "frame 1 of 200, 2.00 s/frame, 3 min 18 s left" in written.getvalue()
    assert "━" not in written.getvalue()


def test_nothing_moves_when_nothing_is_to_be_drawn() -> None:
    speaker, written = talk(terminal=True)
    with speaker:
        speaker.planned(cached=2, to_render=0)
        speaker.frame(frame(0, reused=True))
    assert written.getvalue() == "2 cached, 0 to render\n"


def test_quiet_says_nothing_at_all() -> None:
    speaker, written = talk(terminal=True, quiet=True)
    with speaker:
        speaker.planned(cached=0, to_render=2)
        speaker.loading("storybook")
        speaker.frame(frame(0))
        speaker.warn("odd")
        speaker.encoding(Path("film.mp4"))
    assert written.getvalue() == ""


def test_a_warning_is_said_once() -> None:
    speaker, written = talk()
    speaker.warn("odd")
    speaker.warn("odd")
    assert written.getvalue() == "warning: odd\n"


def test_what_is_said_is_neither_markup_nor_cropped() -> None:
    written = io.StringIO()
    message = "[bold]:cat: /a/long/path/" + "x" * 200
    say(message, console=Console(file=written, width=40))
    assert written.getvalue() == f"{message}\n"


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    written = io.StringIO()
    say("error: red", "red", Console(file=written, force_terminal=True))
    assert "\x1b[31m" not in written.getvalue()


def test_a_table_in_a_pipe_is_never_wrapped_nor_padded(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table(("name", "text"), [("a", "word " * 60 + "end"), ("[b]", "x")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("word end")
    assert lines[2] == "[b]   x"


def test_json_is_one_line_and_keeps_letters(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"prompt": "Kätzchen"})
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "ä" in printed
    assert json.loads(printed) == {"prompt": "Kätzchen"}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (80, "1 min 20 s"), (7500, "2 h 05 min")],
)
def test_a_duration_reads_as_people_say_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("num_bytes", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3.4e6, "3.4 MB"), (5e12, "5.0 TB")],
)
def test_a_size_reads_in_decimal_units(num_bytes: float, said: str) -> None:
    assert file_size(num_bytes) == said


def test_a_path_that_is_not_utf_8_is_printed_byte_by_byte_and_in_json_escaped(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    path = os.fsdecode("é".encode() + b"\xe9")
    emit(path)
    emit_json({"output": path})
    plain, told = capfdbinary.readouterr().out.splitlines()
    assert plain == os.fsencode(path)
    assert "é".encode() in told
    assert json.loads(told) == {"output": path}
