"""Being asked to stop: by Ctrl-C, or by a polite kill."""

from __future__ import annotations

import os
import signal
from typing import Any

from artv_cli.launcher import is_first

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_HEARD = b"\nstopping once this step is done and saved; ask again to stop at once\n"


class Interruption:
    """Hears, while it is entered, whether this process is asked to stop: `is_asked` tells.

    Only the first time: a second signal does what it would do without. What is ignored, as
    Ctrl-C is by a job in the background, stays so.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        self._before = {
            number: signal.signal(number, self._hear)
            for number in SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(self, *raised: object) -> None:
        self._give_back()

    def _hear(self, *signalled: object) -> None:
        self.is_asked = True
        self._give_back()
        if is_first():
            os.write(2, _HEARD)  # print might be what was interrupted

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
