"""A screen as a terminal would show it, as far as artv moves the cursor: for tests by pty."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r|\n)|([^\x1b\r\n]+)")


@dataclass
class Screen:
    """Lines of text of at most `width` columns; `wrapped` counts how often one ran over."""

    width: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    wrapped: int = 0

    def feed(self, text: str) -> None:
        for parameters, final, control, printed in _TOKEN.findall(text):
            if printed:
                self._print(printed)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.row, self.column = self.row + 1, 0
            elif final == "A":
                self.row -= int(parameters or 1)
            elif final == "K":
                self.lines[self.row] = ""
            else:
                assert final in "mhl", f"this screen does not know {final}"
            self.lines += [""] * (self.row + 1 - len(self.lines))

    def _print(self, text: str) -> None:
        for character in text:
            if self.column == self.width:
                self.wrapped += 1
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    @property
    def text(self) -> list[str]:
        """The lines that say something."""
        return [line.rstrip() for line in self.lines if line.strip()]


def run_on_terminal(
    program: str, arguments: list[str], width: int, environ: Mapping[str, str] = {}
) -> tuple[Screen, str, int]:
    """Run a Python program on a terminal of its own; return its screen, all it wrote, its code."""
    running, ours = start_on_terminal(program, arguments, width, environ)
    written = b""
    try:
        while block := os.read(ours, 65536):
            written += block
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    text = written.decode()
    screen = Screen(width)
    screen.feed(text)
    return screen, text, running.wait(timeout=60)


def start_on_terminal(
    program: str,
    arguments: list[str],
    width: int,
    environ: Mapping[str, str] = {},
    start_new_session: bool = False,
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a Python program on a terminal of its own; return it, and our end of the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    running = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env=inherited | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | dict(environ),
        start_new_session=start_new_session,
    )  # fmt: skip
    os.close(theirs)
    return running, ours
