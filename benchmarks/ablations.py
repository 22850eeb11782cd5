"""What each of the paper's ideas is worth, tested by leaving it out (Fig. 8 to 11).

    artv train storybook --preset cpu
    torchrun --nproc-per-node 2 -m benchmarks.ablations --samples 20000 --segments 40

Every variant starts from the same model and is trained on the same examples of the same bank with
the same seed: once as it is, then with one idea missing. What is missing is silenced in the
weights and stays silent, so each variant is a model folder like any other. All are judged on the
same stories; noise levels and kinds of guidance are varied on the first. A training or an
evaluation that was stopped goes on when the same command is run again.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from artv_cli.artv_engine import load_engine
from artv_cli.evaluate.report import Report
from artv_cli.evaluate.storybook import Evaluation, evaluate, read_ways
from artv_cli.evaluate.verdict import EMBEDDED_JUDGE, Judge, load_judge
from artv_cli.launcher import is_first
from artv_cli.machine import has_fast_bfloat16
from artv_cli.model.anchor import AnchorTransformer
from artv_cli.model.artv import ArtV
from artv_cli.model.folder import ModelFolder, Preferences, find_model
from artv_cli.model.weights import load_model
from artv_cli.train.bank import SETTINGS, Bank
from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from artv_cli.train.parallel import wait
from artv_cli.train.run_folder import MODEL
from artv_cli.train.storybook import RECIPE, write_model
from artv_cli.train.storybook_session import BANK

PAGE = Path(__file__).with_name("ablations.md")
NEVER = -30.0  # the logit of a mask that copies nothing
VARIED = (
    "noise_level=0,100,200,400",
    "guidance.text=1.5",
    "guidance.on=composed",
    "guidance.rescale=0.7",
    "guidance.interval=200-900",
)


@dataclass(frozen=True)
class Ablation:
    """A model with one idea missing.

    `silence` does so in its networks; `recipe` is what training is told otherwise, `noise_level`
    what inference is.
    """

    name: str
    silence: Callable[[ArtV], None] = lambda networks: None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    noise_level: int | None = None

    def preferences(self, liked: Preferences) -> Preferences:
        """Return how the variant likes to be used."""
        changed: dict[str, Any] = {
            "static_noise": self.recipe.get("static_noise", liked.static_noise)
        }
        if self.noise_level is not None:
            changed["sampling"] = replace(liked.sampling, noise_level=self.noise_level)
            changed["key_frame"] = replace(liked.key_sampling, noise_level=self.noise_level)
        return liked.model_copy(update=changed)


def without_mask(networks: ArtV) -> None:
    """Have nothing copied: every pixel is drawn anew."""
    last = networks.mask.unet.conv_out
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, NEVER)
    networks.mask.requires_grad_(False)


def without_anchor(networks: ArtV) -> None:
    """Silence the anchor's transformers, as they were before any training."""
    for network in (networks.dynamic, networks.mask):
        for transformer in cast(list[AnchorTransformer], network.anchor.transformers):
            nn.init.zeros_(transformer.proj_out.weight)
            nn.init.zeros_(transformer.proj_out.bias)
        network.anchor.requires_grad_(False)


ABLATIONS = (
    Ablation("as it is"),
    Ablation("without the mask network", without_mask),
    Ablation("without the anchor", without_anchor),
    Ablation("without noise augmentation", recipe={"max_noise_level": 0}, noise_level=0),
    Ablation(
        "static noise: input minus reference", recipe={"static_noise": "input_minus_reference"}
    ),
    Ablation(
        "static noise: reference minus input", recipe={"static_noise": "reference_minus_input"}
    ),
)


@dataclass(frozen=True, kw_only=True)
class Ablations:
    """What all variants share: a finished run of `artv train storybook`, budget and judge.

    `run` holds the model to start from and the bank.
    """

    run: Path
    out: Path
    judge: Judge
    samples: int
    segments: int
    long_stories: int
    frames_long: int
    say: Callable[[str], None] = print

    @functools.cached_property
    def start(self) -> ModelFolder:
        """The model from which every variant starts."""
        return find_model(str(self.run / MODEL))

    @functools.cached_property
    def _digest(self) -> str:
        """Tells trainings from another start, on another bank or by another recipe apart."""
        bank = (self.run / BANK / SETTINGS).read_text()
        decides = [self.start.fingerprint, bank, self.samples, asdict(RECIPE)]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:12]

    def train(self, ablation: Ablation) -> ModelFolder:
        """Return the model folder of a variant, trained to the end."""
        name = ablation.name.replace(" ", "-").replace(":", "")
        folder = self.out / f"{name}-{self._digest}"
        if not (folder / MODEL).exists():
            self._train(ablation, folder)
        return find_model(str(folder / MODEL))

    def _train(self, ablation: Ablation, folder: Path) -> None:
        model = load_model(self.start)
        ablation.silence(model.networks.requires_grad_(True))
        recipe = replace(
            RECIPE, samples=self.samples, bfloat16=has_fast_bfloat16("cpu"), **ablation.recipe
        )
        learner = Learner(model.networks, model.text)
        trainer = Trainer(learner, Bank(self.run / BANK), model.schedule, recipe, folder)
        trainer.run(report=lambda row: self.say(f"{ablation.name}: {json.dumps(row)}"))
        trainer.average.copy_to(trainer.learner)
        trained = replace(
            model, networks=trainer.learner.networks, static_noise=recipe.static_noise
        )
        if is_first():
            write_model(folder / MODEL, trained, ablation.preferences(self.start.preferences))
        wait()

    def evaluate(self, ablation: Ablation) -> Report:
        """Judge a variant; the first, as it is, in several ways."""
        is_whole = ablation is ABLATIONS[0]
        evaluation = Evaluation(
            model=self.train(ablation),
            judge=self.judge,
            ledger=self.out / "verdicts.jsonl",
            segments=self.segments,
            frames_long=self.frames_long,
            long_stories=self.long_stories,
            ways=read_ways(VARIED) if is_whole else (),
            command=f"python -m benchmarks.ablations {shlex.join(sys.argv[1:])}",
        )
        return evaluate(evaluation, load_engine, lambda told: self.say(f"{ablation.name}, {told}"))

    def report(self) -> Report:
        """Train and judge all variants; return one table of them."""
        reports = [self.evaluate(ablation) for ablation in ABLATIONS]
        variants = [
            replace(report.variants[0], name=ablation.name)
            for ablation, report in zip(ABLATIONS, reports, strict=True)
        ]
        facts = {
            **reports[0].facts,
            "start": f"{self.start.path.parent.name}, fingerprint {self.start.fingerprint[:16]}",
            "training of each": f"{self.samples} examples, {RECIPE.batch_size} a step, learning"
            f" rate up to {RECIPE.learning_rate:g}, rising for {RECIPE.warmup} steps, falling for"
            f" the last {RECIPE.decay_share:.0%}",
        }
        return Report("What each idea is worth", [*variants, *reports[0].variants[1:]], facts)


def main() -> None:
    """Train, judge, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/storybook"), help="a finished run")
    parser.add_argument("--judge", type=Path, default=EMBEDDED_JUDGE)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="what is trained")
    parser.add_argument("--samples", type=int, default=20_000, help="examples of each training")
    parser.add_argument("--segments", type=int, default=40, help="judged of each variant")
    parser.add_argument("--long", type=int, default=8, help="long stories besides")
    parser.add_argument("--frames-long", type=int, default=128, help="frames of each of those")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args()
    ablations = Ablations(
        run=options.run,
        out=options.out,
        judge=load_judge(options.judge),
        samples=options.samples,
        segments=options.segments,
        frames_long=options.frames_long,
        long_stories=options.long,
    )
    report = ablations.report()
    if is_first():
        options.page.write_text(report.to_markdown())


if __name__ == "__main__":
    main()
