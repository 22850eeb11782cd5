"""Trains the judge on ground-truth clips alone, in pieces that resume.

It knows the characters that a model knows. It never sees a generated frame, and nothing that it
says is used in training the generator::

    torchrun --nproc-per-node 2 -m artv_cli.evaluate.judge runs/judge --minutes 60

Running it again trains on for as many minutes. The averaged weights and their accuracies on
held-out combinations are written every few minutes; at 99 % of the characters, 99 % of the scenes
and 95 % of the motions it is good enough to judge.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from artv_cli.errors import ArtvError
from artv_cli.evaluate.network import JudgeNetwork
from artv_cli.evaluate.pool import Batch, ClipPool, Examples, held_out_windows
from artv_cli.evaluate.truth import PARTS, Part
from artv_cli.evaluate.verdict import count_classes, save_judge
from artv_cli.machine import autocast
from artv_cli.model.folder import find_model
from artv_cli.storybook.characters import EVERYBODY, Cast
from artv_cli.storybook.vocabulary import read_vocabulary
from artv_cli.storybook.world import world_digest
from artv_cli.train.checkpoint import Origin
from artv_cli.train.parallel import agree, join
from artv_cli.train.run_folder import alone
from artv_cli.train.training import Training

Report = Callable[[str], None]
REQUIRED: Mapping[Part, float] = {"character": 0.99, "scene": 0.99, "motion": 0.95}
STATE = "training.safetensors"


@dataclass(frozen=True, kw_only=True)
class JudgeRecipe:
    """Everything that decides a training, apart from its length.

    A step learns from `windows` windows of a pool of `clips` clips, `fresh` of which are new;
    `foreground` is the weight of the map's loss beside those of the three names.
    """

    width: int = 32
    windows: int = 16
    clips: int = 256
    fresh: int = 2
    rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 1e-2
    foreground: float = 1.0
    ema: float = 0.997
    seed: int = 0


class JudgeTraining(Training[JudgeNetwork]):
    """A judge that is being trained on examples."""

    def __init__(
        self,
        recipe: JudgeRecipe,
        examples: Examples,
        classes: Mapping[Part, int],
        origin: Origin | None = None,
    ) -> None:
        self.recipe, self.examples = recipe, examples
        torch.manual_seed(recipe.seed)
        network = JudgeNetwork(classes, recipe.width)
        optimizer = torch.optim.AdamW(
            network.parameters(), recipe.rate, weight_decay=recipe.weight_decay
        )
        super().__init__(network, optimizer, recipe.ema, origin)

    def train_step(self) -> Tensor:
        """Take one step; return its loss and the accuracy of each part, (4,)."""
        recipe, batch = self.recipe, self.examples.batch(self.step)
        loss, right = judge_loss(self.module, batch, recipe.foreground)
        self.learn(loss, recipe.rate * min(1.0, (self.step + 1) / recipe.warmup))
        return torch.cat([loss.detach()[None], right.float().mean(0)])


def judge_loss(network: JudgeNetwork, batch: Batch, weight: float) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, and which of its names (b, 3) are right."""
    with autocast("cpu"):
        reading = network(batch.frames)
    scores = [reading.scores[part].float() for part in PARTS]
    loss = F.binary_cross_entropy_with_logits(reading.foreground.float(), batch.foreground) * weight
    for column, score in enumerate(scores):
        loss = loss + F.cross_entropy(score, batch.labels[:, column])
    right = torch.stack([score.argmax(1) for score in scores], 1) == batch.labels
    return loss, right


@torch.inference_mode()
def accuracies(network: JudgeNetwork, batches: Sequence[Batch]) -> dict[str, float]:
    """Return which share of the characters, scenes and motions is named rightly, 0 to 1."""
    right = torch.cat([judge_loss(network, batch, 0.0)[1] for batch in batches])
    return dict(zip(PARTS, right.float().mean(0).tolist(), strict=True))


def train_judge(
    recipe: JudgeRecipe,
    out: Path,
    seconds: float = math.inf,
    steps: int | None = None,
    test: int = 400,
    every: float = 300.0,
    report: Report = print,
    cast: Cast = EVERYBODY,
) -> None:
    """Train for so many seconds, or up to a number of steps in all, and write the judge to `out`.

    It learns to name a `cast`. Goes on from the state that stands there; every `every` seconds both
    are written again. Raises UsageError where that state is of another recipe, world or cast.
    """
    rank, world = join()
    pool = ClipPool(recipe.windows, recipe.clips, recipe.fresh, recipe.seed, rank, world, cast)
    origin = {**asdict(recipe), "world": world_digest(), "cast": sorted(cast)}
    training = JudgeTraining(recipe, pool, count_classes(), origin)
    if (out / STATE).exists():
        training.load(out / STATE)
    windows = held_out_windows(test, cast) if rank == 0 else []
    started = saved = time.monotonic()
    log: list[Tensor] = []
    while training.step != steps and agree(time.monotonic() - started) < seconds:
        log.append(training.train_step())
        if rank == 0 and len(log) == 25:
            report(_line(training.step, time.monotonic() - started, torch.stack(log).mean(0)))
            log.clear()
        if rank == 0 and time.monotonic() - saved > every:
            _publish(training, out, windows, cast, report)
            saved = time.monotonic()
    if rank == 0:
        _publish(training, out, windows, cast, report)


def _line(step: int, seconds: float, means: Tensor) -> str:
    loss, *right = means.tolist()
    shares = ", ".join(f"{part} {share:.1%}" for part, share in zip(PARTS, right, strict=True))
    return f"step {step}, {seconds:.0f} s: loss {loss:.3f}, {shares}"


def _publish(
    training: JudgeTraining, out: Path, windows: Sequence[Batch], cast: Cast, report: Report
) -> None:
    training.save(out / STATE)
    network = training.averaged()
    scores = accuracies(network, windows)
    facts = {
        "cast": sorted(cast),
        "scores": scores,
        "windows": len(windows),
        "steps": training.step,
        "recipe": asdict(training.recipe),
    }
    save_judge(out, network.state_dict(), training.recipe.width, facts)
    told = ", ".join(f"{p} {scores[p]:.1%} (needs {REQUIRED[p]:.0%})" for p in PARTS)
    report(f"step {training.step}, held out: {told}")


def main() -> None:
    """Train the judge for so many minutes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path, help="the judge's folder")
    parser.add_argument("--model", default="storybook", help="whose characters it learns")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--test", type=int, default=400, help="held-out windows to score it on")
    options = parser.parse_args()
    try:
        vocabulary = read_vocabulary(find_model(options.model))
        cast = EVERYBODY if vocabulary is None else vocabulary.cast
        with alone(options.out) if join()[0] == 0 else nullcontext():
            seconds = 60 * options.minutes
            train_judge(JudgeRecipe(), options.out, seconds, test=options.test, cast=cast)
    except ArtvError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
