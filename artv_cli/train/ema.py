"""An exponential moving average of the weights: what is shipped is the average of many steps."""

from __future__ import annotations

import torch
from torch import nn


class WeightAverage:
    """Keeps float32 averages of a module's parameters (Sec. 4: decay 0.9999).

    Early on the average follows faster, at (1 + n) / (10 + n) after n steps, so that a short
    training is not held back by its random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().float().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the module's weights after optimiser step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        names, parameters = zip(*module.named_parameters(), strict=True)
        averages = [self.weights[name] for name in names]
        torch._foreach_lerp_(averages, [p.detach().float() for p in parameters], 1 - decay)

    def copy_to(self, module: nn.Module) -> None:
        """Overwrite the module's parameters with the averages."""
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(self.weights[name])
