"""How much is copied at each sampling step: does the mean mask grow, as Fig. 4 says?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from artv_cli.latents import Mask


class MaskLog:
    """Sums up the masks of a story's frames, by the timestep of the evaluation."""

    def __init__(self) -> None:
        self._sums: dict[int, float] = defaultdict(float)
        self._counts: dict[int, int] = defaultdict(int)

    def hear(self, timestep: int, mask: Mask) -> None:
        """Take note of one evaluation: an `engine.Watch`."""
        self._sums[timestep] += float(mask.mean())
        self._counts[timestep] += 1

    @property
    def means(self) -> Mapping[str, float]:
        """The mean mask at each timestep, noisiest first; 1 copies everything."""
        steps = sorted(self._sums, reverse=True)
        return {str(step): round(self._sums[step] / self._counts[step], 4) for step in steps}
