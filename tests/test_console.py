"""Notes and results: as they are in a pipe, wrapped between words on a terminal."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from artv_cli.console import (
    duration,
    emit,
    emit_json,
    emit_prose,
    emit_table,
    error_console,
    file_size,
    say,
)


def test_what_is_said_is_neither_markup_nor_cropped() -> None:
    written = io.StringIO()
    message = "[bold]:cat: /a/long/path/" + "x" * 200
    say(message, console=Console(file=written, width=40))
    assert written.getvalue() == f"{message}\n"


def test_on_a_terminal_lines_break_between_words_and_commands_never() -> None:
    written = io.StringIO()
    console = Console(file=written, width=20, force_terminal=True, color_system=None)
    say("error: a cat sat on the mat\n  and there it lay all day long", console=console)
    say("  artv story a-rather-long-name.yaml --steps 50", console=console)
    say("  torchrun -m artv_cli train storybook", console=console)
    assert written.getvalue().splitlines() == [
        "error: a cat sat on", "the mat", "  and there it lay", "  all day long",
        "  artv story a-rather-long-name.yaml --steps 50",
        "  torchrun -m artv_cli train storybook",
    ]  # fmt: skip


def test_forced_colour_moves_nothing_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert error_console().is_terminal
    assert not error_console().is_interactive


def test_the_work_goes_on_when_nobody_reads_its_notes_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    work = "from artv_cli.console import *; say('one'); say('two'); emit('film.mp4')"
    done = subprocess.run([sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"film.mp4\n")


ROOT = str(Path(__file__).parent.parent)
WORK = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from artv_cli.console import say
from artv_cli.events import _print
from artv_cli.talk import Talk
from test_talk import frame, work

say("one")
talk = Talk()
with talk:
    talk.planned(work(cached=0, to_render=2))
    talk.frame(frame(0))
    talk.encoding(Path("film.mp4"))
print("done", file=sys.stderr)
_print("encoding", output="film.mp4")
Path({done!r}).touch()
"""


def works_on(done: Path, notes: int, result: int) -> bool:
    here = Path(__file__).parent
    program = WORK.format(paths=[str(here), str(here.parent)], done=str(done))
    ended = subprocess.run([sys.executable, "-c", program], stdout=result, stderr=notes)
    return ended.returncode == 0 and done.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_the_work_goes_on_where_there_is_no_room_for_its_notes(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert works_on(tmp_path / "done", full, full)
    finally:
        os.close(full)


@pytest.mark.parametrize(
    ("command", "closed", "code"),
    [
        ("check nope.yaml", "2>&-", 2),
        ("check nope.yaml", ">&- 2>&-", 2),
        ("schema", ">&-", 0),
        ("check -", "<&-", 2),
    ],
)
def test_a_stream_that_was_closed_at_the_start_is_done_without(
    tmp_path: Path, command: str, closed: str, code: int
) -> None:
    ended = subprocess.run(
        f"{shlex.quote(sys.executable)} -m artv_cli {command} {closed}",
        shell=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert "unexpected" not in ended.stderr and ended.stdout == ""


def test_the_work_goes_on_when_its_terminal_is_closed(tmp_path: Path) -> None:
    terminal, notes = os.openpty()
    os.close(terminal)
    try:
        assert works_on(tmp_path / "done", notes, notes)
    finally:
        os.close(notes)


def test_a_table_too_wide_for_a_terminal_tells_one_value_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    emit_table(("name", "text", "more"), [("a", "words and words and", ""), ("b", "x", "y")])
    emit_prose("a line of more than twenty letters")
    assert capsys.readouterr().out.splitlines() == [
        "name: a", "  text: words and", "  words and", "name: b", "  text: x", "  more: y",
        "a line of more than", "twenty letters",
    ]  # fmt: skip


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


SPOKEN = """
from artv_cli.console import emit, emit_json
from artv_cli.events import _print

_print("drawing", prompt="猫 é")
emit_json({"output": "\\udce9 猫"}, indent=2)
emit("猫\\udce9é.mp4")
"""


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", b"\xe9"), ("ascii", b"\\xe9")])
def test_what_standard_output_has_no_letters_for_is_escaped(encoding: str, shown: bytes) -> None:
    spoken = subprocess.run(
        [sys.executable, "-c", SPOKEN], env=os.environ | {"PYTHONIOENCODING": encoding},
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    event, *result, name = spoken.splitlines()
    assert json.loads(event)["prompt"] == "猫 é"
    assert json.loads(b"".join(result)) == {"output": "\udce9 猫"}
    assert name == rb"\u732b" + b"\xe9" + shown + b".mp4", "a byte that is no UTF-8 is as it is"
