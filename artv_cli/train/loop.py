"""The training loop: examples in, better weights out, resumable at any moment.

Every example draws its frames and noise from generators seeded with (seed, step, its place in the
batch), so a run that was stopped and started again sees exactly what an uninterrupted one sees:
rerun the same call. Nor does it matter over how many processes and passes a batch is spread.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import ArtvError, StorageError
from artv_cli.train.checkpoint import Origin, load_checkpoint, save_checkpoint, step_of
from artv_cli.train.divergence import are_finite, divergence
from artv_cli.train.ema import WeightAverage
from artv_cli.train.examples import (
    Clips,
    Examples,
    Pick,
    clip_at,
    gather_examples,
    held_out_examples,
    pick_frames,
)
from artv_cli.train.interruption import Interruption
from artv_cli.train.learner import Learner
from artv_cli.train.loss import Draw
from artv_cli.train.parallel import accelerator_for, agree
from artv_cli.train.progress import Row, print_row, row_of
from artv_cli.train.recipe import Recipe
from artv_cli.train.run_folder import LOG, STATE, append_row, cut_log, require_shared

REPORT_INTERVAL = 30.0  # seconds after which a step is told of, where rows of the log are rare
Rng = np.random.Generator


class Trainer:
    """Trains a `Learner` on clips; its state lives in `folder`.

    `accelerator` says where and over which processes; left out, it is where the learner stands.
    `origin` is what a state must share to be gone on with; a state `with_frozen` holds
    also what is not trained.
    """

    def __init__(
        self,
        learner: Learner,
        clips: Clips,
        schedule: Schedule,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator | None = None,
        *,
        origin: Origin | None = None,
        with_frozen: bool = True,
    ) -> None:
        self.clips, self.schedule, self.recipe, self.folder = clips, schedule, recipe, folder
        self.origin, self.with_frozen = origin, with_frozen
        self.accelerator = accelerator or accelerator_for(next(learner.parameters()).device.type)
        self.device = self.accelerator.device
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.passes = recipe.passes(self.world)
        if not self.accelerator.is_fsdp2:  # which shards plain memory alone
            learner = learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            [p for p in learner.parameters() if p.requires_grad],
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.model, self.optimizer = self.accelerator.prepare(learner, optimizer)
        self.learner: Learner = self.accelerator.unwrap_model(self.model)
        self.average = WeightAverage(self.learner, recipe.ema_decay, recipe.ema_device)
        self.step = 0
        self._kept: int | None = None  # the step whose state is on disk
        self._load()

    @property
    def samples(self) -> int:
        """How many examples have been seen."""
        return self.step * self.recipe.batch_size

    @property
    def is_finished(self) -> bool:
        """Whether the recipe's examples have all been seen."""
        return self.samples >= self.recipe.samples

    def run(
        self,
        seconds: float = math.inf,
        report: Callable[[Row], None] = print_row,
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Train until the recipe's samples are seen or `seconds` have passed, then save.

        `report` hears, in the first process, each row of the log; where none came for a while,
        what it would say by now. A signal to any process stops all after the same step; when they
        have saved, each raises Interrupted.
        """
        with Interruption() as interruption:
            try:
                self._take_steps(seconds, report, after_step, interruption)
            except (ArtvError, OSError):
                if self.world == 1:  # of several, the others wait elsewhere
                    with contextlib.suppress(StorageError):  # there may be no room for it either
                        self._save_good()
                raise
            if self.step and self._kept != self.step:
                self.save()
        interruption.end(self.step, self._state, self.device)

    def _take_steps(
        self,
        seconds: float,
        report: Callable[[Row], None],
        after_step: Callable[[], None],
        interruption: Interruption,
    ) -> None:
        started, spent, saved, told = time.monotonic(), 0.0, 0.0, 0.0
        window: list[Tensor] = []
        while not self.is_finished and spent < seconds:
            window.append(self.train_step())
            since = time.monotonic() - started
            spent = agree(math.inf if interruption.is_asked else since, self.device)
            if self.step % self.recipe.log_interval == 0:
                self.note(self._row(window, since), report)
                window.clear()
                told = since
            elif self.rank == 0 and since - told >= REPORT_INTERVAL:
                report(self._row(window, since))
                told = since
            if spent == math.inf:
                break
            after_step()
            if spent - saved >= self.recipe.checkpoint_seconds:
                self.save()
                saved = spent
        if window:
            self.note(self._row(window, since), report)

    def train_step(self) -> Tensor:
        """Take one optimiser step; return (loss, mean mask) of this process as a tensor (2,)."""
        recipe = self.recipe
        rngs, picks = self._picks(self.step)
        self.clips.expect([*picks, *self._picks(self.step + 1)[1]])
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        size = len(picks) // self.passes
        told = []
        for start in range(0, len(picks), size):
            here = slice(start, start + size)
            examples = gather_examples(self.clips, picks[here], recipe.drops, rngs[here])
            is_last = start + size == len(picks)
            waiting = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.model)
            with waiting:
                losses, masks, weights = self._losses(examples, rngs[here])
                loss = (losses * weights).mean() / self.passes
                self.accelerator.backward(loss)
            told.append(torch.stack([losses.detach().mean(), masks.mean()]))
        means = torch.stack(told).mean(0)
        self._descend(means[0])
        return means

    def _descend(self, loss: Tensor) -> None:
        """Step down the gradients; where those are no numbers, keep the weights: ArtvError.

        `loss`: what is then told of the step.
        """
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        # Of the averaged gradients, so that all processes stop together.
        if not torch.isfinite(norm):
            is_good = self._save_good()
            raise divergence(
                self.step, loss, norm, self._state, is_good=is_good, bfloat16=self.recipe.bfloat16
            )
        self.optimizer.step()
        self.average.update(self.learner, self.step)
        self.step += 1

    @torch.no_grad()
    def measure(self, clips: Clips, count: int) -> float | None:
        """Return the mean loss of `count` examples of other clips, always the same ones.

        None where nothing but unreadable clips is met. No condition is dropped. Each process takes
        its share; where it is one short, an example is taken again and does not count: spread
        weights are gathered by all processes together.
        """
        size = self.recipe.batch_size // self.world // self.passes
        numbers = range(self.rank, math.ceil(count / self.world) * self.world, self.world)
        losses = []
        for start in range(0, len(numbers), size):
            here = [n % count for n in numbers[start : start + size]]
            rngs = [np.random.default_rng((self.recipe.seed, n)) for n in here]
            examples = held_out_examples(clips, here, rngs)
            # The pass that follows is one of all processes together.
            if agree(float(examples is None), self.device) or examples is None:
                return None
            losses.append(self._losses(examples, rngs)[0])
        counted = torch.tensor([n < count for n in numbers], device=self.device)
        total = (torch.cat(losses) * counted).sum()
        return float(self.accelerator.reduce(total, "sum")) / count

    def save(self) -> None:
        """Write the state, whole or not at all; every process must call."""
        save_checkpoint(
            self._state,
            self.learner,
            self.average,
            self.optimizer,
            self.step,
            origin=self.origin,
            with_frozen=self.with_frozen,
            write=self.rank == 0,
        )
        self._kept = self.step

    def _save_good(self) -> bool:
        """Save what is not saved yet if the weights are numbers; return whether they are."""
        is_good = are_finite(self.learner, self.device)
        if is_good and self.step and self._kept != self.step:
            self.save()
        return is_good

    def note(self, row: Row, report: Callable[[Row], None]) -> None:
        """Append a row to the log and to what accelerate tracks; the first process alone does."""
        if self.rank:
            return
        append_row(self.folder / LOG, row)
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        self.accelerator.log(numbers, step=self.step)
        report(row)

    def _picks(self, step: int) -> tuple[list[Rng], list[Pick]]:
        """Return what this process takes of a step's batch, and what draws the rest of it."""
        recipe, share = self.recipe, self.recipe.batch_size // self.world
        places = range(self.rank * share, (self.rank + 1) * share)
        rngs = [np.random.default_rng((recipe.seed, step, place)) for place in places]
        first = step * recipe.batch_size
        clips = [clip_at(first + place, len(self.clips), recipe.seed) for place in places]
        pairs = zip(clips, rngs, strict=True)
        return rngs, [pick_frames(self.clips, clip, recipe.drops, rng) for clip, rng in pairs]

    def _losses(self, examples: Examples, rngs: list[Rng]) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, mean mask and weight of each example: each (b,)."""
        recipe = self.recipe
        seeds = [int(rng.integers(2**63)) for rng in rngs]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        draw = Draw.for_examples(
            examples, self.schedule, recipe.max_noise_level, generators, recipe.shift
        )
        weights = self._weights(draw.timestep).to(self.device)
        examples, draw = examples.to(self.device), draw.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            losses, masks = self.model(examples, draw, self.schedule, recipe.static_noise)
        return losses, masks, weights

    def _weights(self, timestep: Tensor) -> Tensor:
        """Weigh each example's loss (b,): an error of v is one of the noise over sqrt(abar)."""
        if self.recipe.loss_of == "noise":
            return torch.ones(len(timestep))
        return (1 / self.schedule.alphas_cumprod[timestep]).float()

    @property
    def _state(self) -> Path:
        return self.folder / STATE

    def _load(self) -> None:
        self._kept = step_of(self._state)
        # Spread weights are filled by all processes together: first they agree from what.
        require_shared(self.folder, self._kept, self.device)
        if self._kept is not None:
            self.step, _ = load_checkpoint(
                self._state, self.learner, self.average, self.optimizer, self.origin
            )
        if self.rank == 0:
            cut_log(self.folder, self.step)

    def _rate(self) -> float:
        """Share of the full learning rate: a ramp up, a plateau, a ramp down."""
        recipe = self.recipe
        up = (self.step + 1) / max(recipe.warmup, 1)
        left = (1 - self.samples / recipe.samples) / max(recipe.decay_share, 1e-9)
        return min(1.0, up, left)

    def _row(self, window: list[Tensor], seconds: float) -> Row:
        loss, mask = torch.stack(window).mean(0).tolist()
        return row_of(self.step, self.samples, loss, mask, seconds)
