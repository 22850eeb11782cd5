"""How long a training may take, over all of its runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How long to train: wall-clock `seconds` over all runs together, or `steps`."""

    seconds: float | None = None
    steps: int | None = None

    def progress(self, step: int, elapsed: float) -> float:
        """Return the part of the budget that is spent, from 0 to 1."""
        parts = [
            spent / whole
            for spent, whole in ((step, self.steps), (elapsed, self.seconds))
            if whole is not None
        ]
        return min(1.0, max(parts, default=1.0))
