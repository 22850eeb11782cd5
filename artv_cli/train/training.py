"""A training under way: a module, the average of its weights, its optimiser, step and time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from artv_cli.train.checkpoint import Origin, load_checkpoint, save_checkpoint
from artv_cli.train.ema import WeightAverage
from artv_cli.train.parallel import average_gradients

M = TypeVar("M", bound=nn.Module)


class Training(Generic[M]):
    """What every step changes, and what a stopped training goes on from.

    `ema` is the decay of the averaged weights; `elapsed` the seconds that were spent, all runs
    together; `origin` is what a state must share to be gone on with.
    """

    def __init__(
        self,
        module: M,
        optimizer: torch.optim.AdamW,
        ema: float,
        origin: Origin | None = None,
    ) -> None:
        self.module, self.optimizer, self.origin = module, optimizer, origin
        self.average = WeightAverage(module, ema)
        self.step = 0
        self.elapsed = 0.0

    def learn(self, loss: Tensor, rate: float) -> None:
        """Take one step down the gradients of a loss, which are averaged over the processes."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.module.parameters())
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.module, self.step)
        self.step += 1

    def averaged(self) -> M:
        """Return a copy of the module that holds the averaged weights."""
        module = copy.deepcopy(self.module)
        self.average.copy_to(module)
        return module.eval()

    def save(self, file: Path) -> None:
        """Write the whole state, so that training can go on from it."""
        save_checkpoint(
            file,
            self.module,
            self.average,
            self.optimizer,
            self.step,
            elapsed=self.elapsed,
            origin=self.origin,
        )

    def load(self, file: Path) -> None:
        """Take up the state that `save` wrote; raises UsageError where its origin is another."""
        self.step, self.elapsed = load_checkpoint(
            file, self.module, self.average, self.optimizer, self.origin
        )
