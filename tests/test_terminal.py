"""The real command on terminals: wide, narrow, without colour, dumb, and through tmux."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import STORY, Studio
from terminal_screen import Screen, run_on_terminal, start_on_terminal

PROGRAM = """
import sys, time, types
sys.path[:0] = {paths!r}
from conftest import stand_in_model
import artv_cli.story
from standin import StandInEngine

class SlowEngine(StandInEngine):
    def next_frame(self, *given):
        time.sleep({seconds})
        return super().next_frame(*given)

artv_cli.story.find_model = stand_in_model
engine = types.SimpleNamespace(load_engine=lambda *model, **how: SlowEngine())
sys.modules["artv_cli.artv_engine"] = engine
from artv_cli.cli import main
main()
"""


def program(seconds: float = 0.05) -> str:
    here = Path(__file__).parent
    return PROGRAM.format(paths=[str(here), str(here.parent)], seconds=seconds)


def test_the_screen_of_these_tests_shows_what_a_terminal_would() -> None:
    screen = Screen(4)
    screen.feed("abcd\r\nabcde\x1b[1A\r\x1b[2Kx\x1b[31my\x1b[0m")
    assert (screen.text, screen.wrapped) == (["abcd", "xy", "e"], 1)


@pytest.mark.parametrize("width", [40, 80])
def test_a_render_leaves_whole_lines_and_no_rubbish(studio: Studio, width: int) -> None:
    studio.write()
    screen, written, code = run_on_terminal(program(), ["story", "story.yaml"], width)
    assert code == 0
    assert screen.wrapped == 0
    assert screen.text[:3] == ["0 cached, 10 to render", "loading storybook", "writing story.mp4"]
    assert screen.text[3].startswith("10 frames: 10 rendered, 0 reused")
    assert screen.text[-1] == "story.mp4"
    assert "s left" in written, "there was a moving line"
    assert ("━" in written) is (width == 80)
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1, "the cursor is back"


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "story.yaml"], ["plan", "story.yaml", "--explain", "7"], ["cache", "ls"],
        ["check", "story.yaml"], ["export", "story.yaml", "-o", "story.gif"],
        ["story", "missing.yaml"], ["story", "story.yaml", "--steps", "many"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nothing_wraps_in_forty_columns(studio: Studio, arguments: list[str]) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY if "export" in arguments else STORY.replace("a cat jumps", "a cat sleeps"))
    screen, _, _ = run_on_terminal(program(), arguments, 40)
    assert screen.wrapped == 0, screen.text
    assert screen.text


def test_no_color_leaves_no_colour_and_no_picture(studio: Studio) -> None:
    studio.write()
    arguments = ["story", "story.yaml", "--preview"]
    _, written, code = run_on_terminal(program(), arguments, 80, {"NO_COLOR": "1"})
    assert code == 0
    assert not any(f"\x1b[{style}m" in written for style in ("31", "33", "38", "48"))
    assert "38;2" not in written and "▀" not in written


def test_a_preview_is_shown_above_the_line_and_taken_away(studio: Studio) -> None:
    studio.write()
    screen, written, code = run_on_terminal(program(), ["story", "story.yaml", "--preview"], 40)
    assert (code, screen.wrapped) == (0, 0)
    assert "▀" in written and "38;2;" in written
    assert not any("▀" in line for line in screen.text)


def test_a_render_goes_on_when_its_terminal_hangs_up(studio: Studio) -> None:
    studio.write()
    running, ours = start_on_terminal(
        "import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" + program(0.1),
        ["story", "story.yaml"], 80, start_new_session=True,
    )  # fmt: skip
    written = b""
    while b"s left" not in written:
        written += os.read(ours, 65536)
    os.close(ours)  # the kernel tells whoever has it for a controlling terminal, by SIGHUP
    assert running.wait(timeout=60) == 0
    assert Path("story.mp4").exists()


def test_a_dumb_terminal_gets_plain_lines(studio: Studio) -> None:
    studio.write()
    _, written, code = run_on_terminal(program(), ["story", "story.yaml"], 80, {"TERM": "dumb"})
    assert code == 0
    assert "\x1b" not in written
    assert "\r" not in written.replace("\r\n", "\n")


def test_quiet_on_a_terminal_is_the_path_alone(studio: Studio) -> None:
    studio.write()
    _, written, _ = run_on_terminal(program(0), ["story", "story.yaml", "--quiet"], 80)
    assert written == "story.mp4\r\n"


def test_an_error_takes_the_moving_line_away_first(studio: Studio) -> None:
    studio.write()
    broken = program().replace("SlowEngine()", "SlowEngine(broken_after=4)")
    screen, _, code = run_on_terminal(broken, ["story", "story.yaml"], 40)
    assert (code, screen.wrapped) == (1, 0)
    assert " ".join(screen.text[2:]).startswith("error: frame 5 (segment 1) came out")


# ---------------------------------------------------------------- tmux


class Tmux:
    """A session of its own on a server of its own, with one pane of `width` columns."""

    def __init__(self, width: int, command: str) -> None:
        self._name = f"artv-test-{os.getpid()}-{width}"
        self._run(
            "new-session", "-d", "-x", str(width), "-y", "24", f"{command}; sleep 60"
        )  # fmt: skip

    def _run(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._name, "-f", os.devnull, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def lines(self, *, joined: bool = False) -> list[str]:
        """Return the pane's lines; `joined` makes one of those that the terminal wrapped."""
        text = self._run("capture-pane", "-p", *(["-J"] if joined else []))
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def painted(self) -> str:
        """Return what the pane shows, with the escapes that colour it."""
        return self._run("capture-pane", "-p", "-e")

    def end(self) -> None:
        self._run("kill-server")


needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


@needs_tmux
def test_in_a_narrow_tmux_without_colour_a_render_ends_in_whole_plain_lines(
    studio: Studio,
) -> None:
    studio.write()
    Path("artv.py").write_text(program(0))
    command = ["env", "-u", "COLUMNS", "NO_COLOR=1", sys.executable, "artv.py"]
    tmux = Tmux(36, shlex.join([*command, "story", "story.yaml"]))
    try:
        end = time.monotonic() + 240
        while time.monotonic() < end and "story.mp4" not in tmux.lines():
            time.sleep(0.2)
        lines, joined = tmux.lines(), tmux.lines(joined=True)
        painted = tmux.painted()
    finally:
        tmux.end()
    assert lines[:3] == ["0 cached, 10 to render", "loading storybook", "writing story.mp4"]
    assert lines[-1] == "story.mp4"
    assert joined == lines, "a line was wrapped"
    assert not any("left" in line for line in lines)
    assert not re.search(r"\x1b\[(?:[34][0-8]|9[0-7]|10[0-7])", painted), "39 and 49 are none"


@pytest.mark.slow
@needs_tmux
@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("preview", [False, True], ids=["", "preview"])
def test_in_tmux_no_line_wraps_or_stays_behind(studio: Studio, width: int, preview: bool) -> None:
    studio.write(STORY.replace("frames: 6", "frames: 30"))
    Path("artv.py").write_text(program(0.2))
    arguments = ["story", "story.yaml", *(["--preview"] if preview else [])]
    tmux = Tmux(
        width,
        shlex.join(
            ["env", "-u", "NO_COLOR", "-u", "COLUMNS", sys.executable, "artv.py", *arguments]
        ),
    )
    seen: list[str] = []
    try:
        end = time.monotonic() + 240
        while time.monotonic() < end and "story.mp4" not in tmux.lines():
            whole = tmux.lines(joined=True)
            if len(whole) == len(tmux.lines(joined=True)) == len(tmux.lines()):
                seen += whole
            time.sleep(0.3)
        lines = tmux.lines()
        assert tmux.lines(joined=True) == lines, "a line was wrapped"
    finally:
        tmux.end()
    assert lines[:3] == ["0 cached, 34 to render", "loading storybook", "writing story.mp4"]
    assert lines[-1] == "story.mp4"
    assert not any("left" in line or "━" in line or "▀" in line for line in lines)
    assert any(" left" in line for line in seen), "the moving line was seen"
    assert any("▀" in line for line in seen) is preview
