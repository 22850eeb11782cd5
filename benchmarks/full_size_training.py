"""Trains the full-size model on the storybook for some minutes, from random weights, on a GPU.

It shows that a whole training step of 1.2 B parameters works, learns and leaks nothing; nobody
should want the weights. Clips of the storybook's world at 320x320 are encoded by an autoencoder of
Stable Diffusion's layout, random too, before the clock starts::

    python -m benchmarks.full_size_training --minutes 9 --out runs/full-size

`log.jsonl` there gains a line at intervals (loss and mask as means since the line before), and
`summary.json` says what came of it. With `--save` the state is written at the end (21 GB) and
the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from artv_cli.diffusion.schedule import Schedule
from artv_cli.train.activations import checkpoint_activations
from artv_cli.train.examples import Clips
from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from artv_cli.train.recipe import Recipe
from benchmarks.clips import encode_stories
from benchmarks.full_size import (
    build_artv,
    build_autoencoder,
    build_text_encoder,
)

GIGA = 1e9
ENDLESS = 10**9  # samples: the clock stops the training
CLIP_LENGTH = 14  # frames

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """When to stop, and how many steps a line of the log covers."""

    seconds: float = math.inf
    steps: int = ENDLESS
    interval: int = 20


def full_size_learner(device: str) -> Learner:
    """Return the networks at the paper's size and their frozen text encoder, all from seed 0."""
    torch.manual_seed(0)
    with torch.device(device):
        learner = Learner(build_artv(), build_text_encoder())
    learner.text.requires_grad_(False)
    return learner


def new_trainer(
    learner: Learner, clips: Clips, batch_size: int, folder: Path, learning_rate: float = 1e-4
) -> Trainer:
    """Return a trainer by the paper's recipe, but for a rate that moves random weights sooner."""
    recipe = Recipe(samples=ENDLESS, batch_size=batch_size, learning_rate=learning_rate, warmup=100)
    return Trainer(learner, clips, Schedule.scaled_linear(), recipe, folder)


def train(trainer: Trainer, limit: Limit, report: Callable[[str], None] = print) -> list[Row]:
    """Train up to the limit; append to the log in the trainer's folder and return its new lines."""
    trainer.folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    started = time.monotonic()
    while len(rows) * limit.interval < limit.steps and time.monotonic() - started < limit.seconds:
        before = time.monotonic()
        window = [trainer.train_step() for _ in range(limit.interval)]
        rows.append(_row(trainer, window, time.monotonic() - before))
        with (trainer.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(rows[-1]) + "\n")
        report(json.dumps(rows[-1]))
    return rows


def summary(rows: list[Row]) -> Row:
    """Say whether the loss fell and memory held still from the first lines of a log to the last.

    Of each end a tenth of the lines is taken, at least one; memory starts to count at the second
    line, when the optimiser has its moments and the allocator its pools. What is resident is the
    process's own, in main memory.
    """
    tenth = max(1, len(rows) // 10)
    settled = rows[min(1, len(rows) - 1)]
    return {
        "steps": rows[-1]["step"],
        "loss_first": _mean(rows[:tenth], "loss"),
        "loss_last": _mean(rows[-tenth:], "loss"),
        "mask_last": _mean(rows[-tenth:], "mask"),
        "samples_per_second": _mean(rows[len(rows) // 2 :], "samples_per_second"),
        "peak_gigabytes": max(row["peak_gigabytes"] for row in rows),
        "growth_megabytes": _growth(settled, rows[-1], "gigabytes"),
        "resident_growth_megabytes": _growth(settled, rows[-1], "resident_gigabytes"),
    }


def _row(trainer: Trainer, window: list[Tensor], seconds: float) -> Row:
    loss, mask = torch.stack(window).mean(0).tolist()
    samples = len(window) * trainer.recipe.batch_size
    return {
        "step": trainer.step,
        "loss": round(loss, 5),
        "mask": round(mask, 4),
        "samples_per_second": round(samples / seconds, 2),
        "gigabytes": round(torch.cuda.memory_allocated() / GIGA, 4),  # 0 without CUDA
        "peak_gigabytes": round(torch.cuda.max_memory_allocated() / GIGA, 3),
        "resident_gigabytes": round(psutil.Process().memory_info().rss / GIGA, 4),
    }


def _growth(early: Row, late: Row, name: str) -> float:
    return round(1000 * (late[name] - early[name]), 1)


def _mean(rows: list[Row], name: str) -> float:
    return round(sum(row[name] for row in rows) / len(rows), 5)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the full-size model for some minutes.")
    parser.add_argument("--minutes", type=float, default=9.0, help="after the clips are encoded")
    parser.add_argument("--out", type=Path, default=Path("runs/full-size"))
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--size", type=int, default=320, help="pixels each way")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--checkpointing", action="store_true", help="less memory, more time")
    parser.add_argument("--save", action="store_true", help="write the state at the end")
    return parser.parse_args()


def main() -> None:
    """Encode the clips, train, and write what came of it."""
    options = _options()
    if not torch.cuda.is_available():
        sys.exit("Training the full-size model needs a CUDA device, and there is none here.")
    with torch.device("cuda"):
        vae = build_autoencoder().requires_grad_(False).eval().to(torch.bfloat16)
    clips = encode_stories(vae, options.clips, CLIP_LENGTH, options.size)
    del vae
    learner = full_size_learner("cuda")
    if options.checkpointing:
        checkpoint_activations(learner.networks)
    trainer = new_trainer(learner, clips, options.batch_size, options.out, options.learning_rate)
    torch.cuda.reset_peak_memory_stats()
    rows = train(trainer, Limit(seconds=options.minutes * 60))
    told = json.dumps(summary(rows), indent=1)
    (options.out / "summary.json").write_text(told + "\n")
    print(told)
    if options.save:
        trainer.save()


if __name__ == "__main__":
    main()
