"""An exponential moving average of the weights: what is shipped is the average of many steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """Keeps float32 averages of a module's trained parameters (Sec. 4: decay 0.9999).

    Early on the average follows faster, at (1 + n) / (10 + n) after n steps, so that a short
    training is not held back by its random start. `device`: where the averages lie, by default
    beside the weights; on "cpu" they leave a card's memory free and cost each step a transfer.
    """

    def __init__(
        self, module: nn.Module, decay: float, device: torch.device | str | None = None
    ) -> None:
        self.decay = decay
        self.weights = {
            name: p.detach().to(device or p.device, torch.float32, copy=True)
            for name, p in module.named_parameters()
            if p.requires_grad
        }

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the module's weights after optimiser step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = dict(module.named_parameters())
        averages = list(self.weights.values())
        moved = [weights[name].detach().to(a.device, a.dtype) for name, a in self.weights.items()]
        torch._foreach_lerp_(averages, moved, 1 - decay)

    def copy_to(self, module: nn.Module) -> None:
        """Overwrite the module's parameters with the averages."""
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])

    @contextmanager
    def in_place_of(self, module: nn.Module) -> Iterator[None]:
        """Let the module hold the averages meanwhile, and its own weights again afterwards."""
        weights = dict(module.named_parameters())
        own = {
            name: weights[name].detach().to(average.device, copy=True)
            for name, average in self.weights.items()
        }
        try:
            self.copy_to(module)
            yield
        finally:
            with torch.no_grad():
                for name, weight in own.items():
                    weights[name].copy_(weight)
