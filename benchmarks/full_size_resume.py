"""Stops a training of the full-size model on a GPU, goes on, and compares: the same bits or not?

A training takes some steps, saves its state, and takes as many again. Another begins with that
state and takes the last steps anew. With deterministic kernels both must end in the same bits::

    python -m benchmarks.full_size_resume --steps 3 --out runs/resume
    python -m benchmarks.full_size_resume --any-kernels      # as without `deterministic: true`

The state takes 21 GB of disk, and as much of main memory while the two are compared. It says how
many of its tensors differ and ends with 1 where any does.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from artv_cli.train.checkpoint import state_tensors, whole
from artv_cli.train.determinism import deterministic
from artv_cli.train.loop import Trainer
from artv_cli.train.run_folder import STATE
from benchmarks.clips import random_clips
from benchmarks.full_size import PIXELS_PER_LATENT
from benchmarks.full_size_training import CLIP_LENGTH, full_size_learner, new_trainer

CLIPS = 8


def differences(new: Callable[[], Trainer], steps: int) -> tuple[list[str], int]:
    """Return the names of what differs after a stop half way, and how many tensors there are.

    `new` makes a trainer, which begins with the state in its folder if there is one.
    """
    trainer = new()
    if trainer.step:
        raise SystemExit(f"{trainer.folder} has the state of another training: name another --out.")
    _take(trainer, steps)
    trainer.save()
    _take(trainer, steps)
    alone = {name: whole(tensor) for name, tensor in _state(trainer)}
    del trainer
    gc.collect()
    torch.cuda.empty_cache()
    trainer = new()
    _take(trainer, steps)
    resumed = dict(_state(trainer))
    assert resumed.keys() == alone.keys()
    differing = [name for name in alone if not torch.equal(alone[name], whole(resumed[name]))]
    return differing, len(alone)


def _take(trainer: Trainer, steps: int) -> None:
    started = time.monotonic()
    losses = [trainer.train_step()[0].item() for _ in range(steps)]
    told = ", ".join(f"{loss:.6f}" for loss in losses)
    print(
        f"to step {trainer.step} in {time.monotonic() - started:.1f} s: losses {told}", flush=True
    )


def _state(trainer: Trainer) -> Iterator[tuple[str, Tensor]]:
    return state_tensors(trainer.learner, trainer.average, trainer.optimizer)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stop and resume the full-size training.")
    parser.add_argument("--steps", type=int, default=3, help="before the stop, and after it")
    parser.add_argument("--out", type=Path, default=Path("runs/resume"))
    parser.add_argument("--size", type=int, default=320, help="pixels each way")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--any-kernels", action="store_true", help="also those that may differ")
    return parser.parse_args()


def main() -> None:
    """Train, stop, resume, compare."""
    options = _options()
    if not torch.cuda.is_available():
        sys.exit("Resuming the full-size model needs a CUDA device, and there is none here.")
    with deterministic(not options.any_kernels):
        clips = random_clips(CLIPS, CLIP_LENGTH, options.size // PIXELS_PER_LATENT)
        differing, count = differences(
            lambda: new_trainer(full_size_learner("cuda"), clips, options.batch_size, options.out),
            options.steps,
        )
    (options.out / STATE).unlink()
    print(
        f"{len(differing)} of {count} tensors differ" + "".join(f"\n  {n}" for n in differing[:9])
    )
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
