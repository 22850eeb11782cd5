"""Who writes down what a story is rendered from, once there is something new to tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from artv_cli.observer import Observer
from artv_cli.render import Frame


class Chronicler(Observer):
    """Calls `remember` once: with the first new frame, or when all frames turn out to be there.

    Until then the last render is what a plan explains its changes from.
    """

    def __init__(self, remember: Callable[[], None]) -> None:
        self._remember = remember
        self._is_done = False

    def frame(self, frame: Frame) -> None:
        if not frame.reused:
            self._write()

    def encoding(self, path: Path) -> None:
        self._write()

    def _write(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._remember()
