"""The command that trains a model: train."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Annotated

import typer

from artv_cli.commands.options import TalkOptions
from artv_cli.console import emit, emit_json
from artv_cli.talk import Talk


def train(
    recipe: Annotated[
        Path, typer.Argument(help="A YAML file: what to train, on what, and how.", metavar="RECIPE")
    ],
    talk: TalkOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder; else runs/NAME.", metavar="DIR"),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Examples in all, instead of the recipe's.", metavar="N", min=1),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so long, state kept.", metavar="N", min=0)
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, or cpu; the launcher picks the cards.", metavar="DEVICE")
    ] = "auto",
) -> None:
    """Train a model on your own clips, by a recipe.

    artv train recipe.yaml --out runs/mine
    artv train recipe.yaml --out runs/mine --minutes 60

    On several cards: accelerate launch -m artv_cli train recipe.yaml. Ctrl-C stops
    after the step at hand, state kept; a second one at once. A training that was
    stopped goes on when the same command is run again; its model folder is
    DIR/model, for artv story --model.
    """
    from artv_cli.train.training_recipe import load_training_recipe

    asked = load_training_recipe(recipe)
    from artv_cli.train.device_memory import memory_told  # torch comes with it
    from artv_cli.train.session import Session

    is_first = os.environ.get("RANK", "0") == "0"
    talker = Talk(quiet=talk.quiet or not is_first)
    with memory_told(asked):
        session = Session(
            asked,
            out or Path("runs") / recipe.stem,
            device=device,
            samples=samples,
            say=talker.say,
        )
        outcome = session.run(math.inf if minutes is None else minutes * 60)
    if not is_first:
        return
    if talk.json:
        told = dataclasses.asdict(outcome)
        emit_json({**told, "model": str(outcome.model) if outcome.model else None})
    else:
        emit(str(outcome.model or session.out))
