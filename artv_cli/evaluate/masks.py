"""How much is copied at each sampling step: does the mean mask grow, as Fig. 4 says?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from artv_cli.model.artv import ArtV


class MaskLog:
    """Sums up the masks that `ArtV` predicts, by the timestep of the evaluation."""

    def __init__(self) -> None:
        self._sums: dict[int, float] = defaultdict(float)
        self._counts: dict[int, int] = defaultdict(int)

    def hear(self, module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        """Take note of one evaluation, unless there was nothing to copy from."""
        if not isinstance(module, ArtV) or not bool(given[2].has_reference[0]):
            return
        timestep, mask = int(given[1][0]), made[0][0]  # the branch with all conditions is first
        self._sums[timestep] += float(mask.float().mean())
        self._counts[timestep] += 1

    @property
    def means(self) -> Mapping[str, float]:
        """The mean mask at each timestep, noisiest first; 1 copies everything."""
        steps = sorted(self._sums, reverse=True)
        return {str(step): round(self._sums[step] / self._counts[step], 4) for step in steps}


@contextmanager
def logged_masks() -> Iterator[MaskLog]:
    """Listen to every `ArtV` in this process; the engine need not know."""
    log = MaskLog()
    handle = register_module_forward_hook(log.hear)
    try:
        yield log
    finally:
        handle.remove()
