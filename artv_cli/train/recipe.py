"""What the training loop is told: how much, how fast, and what is drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from artv_cli.errors import UsageError
from artv_cli.settings import StaticNoise
from artv_cli.train.examples import Drops


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; the defaults are the paper's (Sec. 4, Table 5), sizes and budget apart.

    `samples`: how many examples in all, `batch_size` of them a step over all processes, in passes
    of `pass_size` (None: a process takes its share at once); `warmup`: the first steps, in which
    the learning rate rises; `decay_share`: the last part of the samples, in which it falls to
    zero. `loss_of` is what the squared error is measured on: the paper's noise (Eq. 4), or the
    velocity v (arXiv 2202.00512), which says more about a whole picture and less about its last
    details; a `shift` above 1 draws noisy timesteps, at which it is decided what stands where,
    more often. A row of the log covers `log_interval` steps. `ema_device`: see WeightAverage.
    """

    samples: int
    batch_size: int = 480
    pass_size: int | None = None
    learning_rate: float = 1e-5
    warmup: int = 0
    decay_share: float = 0.0
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.9999
    ema_device: str | None = None
    max_noise_level: int = 550
    static_noise: StaticNoise = "exact"
    loss_of: Literal["noise", "velocity"] = "noise"
    shift: float = 1.0
    drops: Drops = field(default_factory=Drops)
    bfloat16: bool = True
    seed: int = 0
    log_interval: int = 100
    checkpoint_seconds: float = 300.0

    def passes(self, processes: int) -> int:
        """Return in how many passes each process takes its share of a batch.

        Raises UsageError where a batch cannot be shared so.
        """
        share, rest = divmod(self.batch_size, processes)
        size = share if self.pass_size is None else min(self.pass_size, share)
        if rest or not size or share % size:
            raise UsageError(
                f"a batch of {self.batch_size} cannot be shared by {processes} processes"
                + ("" if self.pass_size is None else f" in passes of {self.pass_size}"),
                "Make the batch a multiple of the number of processes times the size of a pass.",
            )
        return share // size
