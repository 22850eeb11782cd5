"""The training loop: examples in, better weights out, resumable at any moment.

Every step draws its examples and noise from generators seeded with (seed, process, step), so a run
that was stopped and started again sees exactly what an uninterrupted one sees: rerun the same call.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import ArtvError
from artv_cli.model.artv import ArtV
from artv_cli.model.codec import TextEncoder
from artv_cli.settings import StaticNoise
from artv_cli.train.checkpoint import load_checkpoint, save_checkpoint
from artv_cli.train.ema import WeightAverage
from artv_cli.train.examples import Clips, Drops, draw_examples
from artv_cli.train.loss import Draw, masked_diffusion_loss
from artv_cli.train.parallel import agree, average_gradients, join


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; the defaults are the paper's (Sec. 4, Table 5), sizes and budget apart.

    `samples`: how many examples in all, `batch_size` of them a step in each process; `warmup`:
    the first steps, in which the learning rate rises; `decay_share`: the last part of the
    samples, in which it falls to zero. `loss_of` is what the squared error is measured on: the
    paper's noise (Eq. 4), or the velocity v (arXiv 2202.00512), which says more about a whole
    picture and less about its last details; a `shift` above 1 draws noisy timesteps, at which it
    is decided what stands where, more often.
    """

    samples: int
    batch_size: int = 480
    learning_rate: float = 1e-5
    warmup: int = 0
    decay_share: float = 0.0
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.9999
    max_noise_level: int = 550
    static_noise: StaticNoise = "exact"
    loss_of: Literal["noise", "velocity"] = "noise"
    shift: float = 1.0
    drops: Drops = field(default_factory=Drops)
    bfloat16: bool = True
    seed: int = 0
    checkpoint_seconds: float = 300.0


class Learner(nn.Module):
    """Both networks and the text encoder; what requires no gradient stays as it is."""

    def __init__(self, networks: ArtV, text: TextEncoder) -> None:
        super().__init__()
        self.networks = networks
        self.text = text


class Trainer:
    """Trains a `Learner` on clips; its state lives in `folder`."""

    def __init__(
        self, learner: Learner, clips: Clips, schedule: Schedule, recipe: Recipe, folder: Path
    ) -> None:
        self.learner = learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = next(learner.parameters()).device
        self.clips = clips
        self.schedule = schedule
        self.recipe = recipe
        self.folder = folder
        self.rank, self.world = join()
        self.average = WeightAverage(learner, recipe.ema_decay)
        self.optimizer = torch.optim.AdamW(
            [p for p in learner.parameters() if p.requires_grad],
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.step = 0
        self._load()

    @property
    def samples(self) -> int:
        """How many examples have been seen."""
        return self.step * self.recipe.batch_size * self.world

    def run(self, seconds: float = math.inf, report: Callable[[str], None] = print) -> None:
        """Train until the recipe's samples are seen or `seconds` have passed, then save."""
        started = saved = time.monotonic()
        window: list[Tensor] = []
        while self.samples < self.recipe.samples and agree(time.monotonic() - started) < seconds:
            window.append(self.train_step())
            if self.step % 100 == 0 and self.rank == 0:
                report(self._log(window, time.monotonic() - started))
                window.clear()
            if self.rank == 0 and time.monotonic() - saved > self.recipe.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        if self.rank == 0:
            self.save()

    def train_step(self) -> Tensor:
        """Take one optimiser step; return (loss, mean mask) as a detached tensor (2,)."""
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, self.rank, self.step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        examples = draw_examples(self.clips, recipe.batch_size, recipe.drops, rng)
        draw = Draw.for_examples(
            examples, self.schedule, recipe.max_noise_level, generator, recipe.shift
        )
        weights = self._weights(draw.timestep).to(self.device)
        examples, draw = examples.to(self.device), draw.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * self._rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            text = self.learner.text(examples.captions)
            losses, masks = masked_diffusion_loss(
                self.learner.networks, examples, text, draw, self.schedule, recipe.static_noise
            )
        loss = (losses * weights).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.learner.parameters())
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), recipe.max_grad_norm)
        # Of the averaged gradients, so that all processes stop together.
        if not torch.isfinite(norm):
            raise ArtvError(
                f"the loss is {loss.item()} and the gradients have norm {norm.item()} at step"
                f" {self.step}",
                f"The last good state is in {self.folder}; lower the learning rate and run again.",
            )
        self.optimizer.step()
        self.average.update(self.learner, self.step)
        self.step += 1
        return torch.stack([losses.detach().mean(), masks.mean()])

    def _weights(self, timestep: Tensor) -> Tensor:
        """Weigh each example's loss (b,): an error of v is one of the noise over sqrt(abar)."""
        if self.recipe.loss_of == "noise":
            return torch.ones(len(timestep))
        return (1 / self.schedule.alphas_cumprod[timestep]).float()

    def save(self) -> None:
        """Write the state, whole or not at all."""
        save_checkpoint(
            self.folder / "state.safetensors", self.learner, self.average, self.optimizer, self.step
        )

    def _load(self) -> None:
        path = self.folder / "state.safetensors"
        if path.exists():
            self.step, _ = load_checkpoint(path, self.learner, self.average, self.optimizer)

    def _rate(self) -> float:
        """Share of the full learning rate: a ramp up, a plateau, a ramp down."""
        recipe = self.recipe
        up = (self.step + 1) / max(recipe.warmup, 1)
        left = (1 - self.samples / recipe.samples) / max(recipe.decay_share, 1e-9)
        return min(1.0, up, left)

    def _log(self, window: list[Tensor], seconds: float) -> str:
        loss, mask = torch.stack(window).mean(0).tolist()
        row = {
            "step": self.step,
            "samples": self.samples,
            "loss": round(loss, 5),
            "mask": round(mask, 4),
            "seconds": round(seconds, 1),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        return json.dumps(row)
