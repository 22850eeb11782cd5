"""Being asked to stop: by Ctrl-C, or by a polite kill."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch

from artv_cli.errors import Interrupted
from artv_cli.launcher import is_first
from artv_cli.train.parallel import agree

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

    def end(self, step: int, state: Path, device: torch.device) -> None:
        """Raise Interrupted in all processes where any was asked to stop; each must call.

        `state`: the file that holds this step by now; `device`: where the processes talk.
        """
        if agree(float(self.is_asked), device):
            raise Interrupted(f"stopped after step {step}, which {state} holds")

    def _hear(self, *signalled: object) -> None:
        self.is_asked = True
        self._give_back()
        if is_first():
            os.write(2, _HEARD)  # print might be what was interrupted

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
