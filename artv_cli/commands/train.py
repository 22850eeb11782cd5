"""The command that trains a model: train."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from artv_cli.commands.options import TalkOptions
from artv_cli.console import emit, emit_json
from artv_cli.errors import UsageError
from artv_cli.launcher import is_first
from artv_cli.talk import Talk

if TYPE_CHECKING:
    from artv_cli.train.session import Session
    from artv_cli.train.storybook_session import StorybookSession

STORYBOOK = "storybook"  # the recipe that ships inside
PresetName = Literal["cpu", "gpu"]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class StorybookOptions:
    """What only the recipe that ships inside can be told."""

    preset: Annotated[
        PresetName | None,
        typer.Option(help="Of storybook: its size, and where it trains.", metavar="cpu|gpu"),
    ] = None
    start_from: Annotated[
        str | None,
        typer.Option(help="Of storybook: a model whose weights it begins with.", metavar="MODEL"),
    ] = None
    decoder_only: Annotated[
        bool,
        typer.Option(
            "--decoder-only",
            help="Of storybook: sharpen the decoder of --start-from, and leave the rest.",
            metavar="",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """What only a recipe in YAML can be told."""

    device: Annotated[
        str | None,
        typer.Option(help="auto, or cpu; the launcher picks the cards.", metavar="DEVICE"),
    ] = None
    lora: Annotated[
        int | None,
        typer.Option(
            help="Train small matrices of this rank, as the recipe's lora does.",
            metavar="RANK",
            min=1,
            max=1024,
        ),
    ] = None


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A YAML file: what to train, on what, and how; or storybook, which ships inside.",
            metavar="RECIPE",
        ),
    ],
    talk: TalkOptions,
    own: RecipeOptions,
    storybook: StorybookOptions,
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
) -> None:
    """Train a model on your own clips, by a recipe; or the embedded model itself.

    artv train recipe.yaml --out runs/mine
    artv train recipe.yaml --out runs/mine --minutes 60
    artv train recipe.yaml --out runs/small --lora 16
    artv train storybook --preset cpu --minutes 60

    On several cards: accelerate launch -m artv_cli train recipe.yaml. Ctrl-C stops
    after the step at hand, state kept; a second one at once. A training that was
    stopped goes on when the same command is run again; its model folder is
    DIR/model, for artv story --model.
    """
    say = Talk(quiet=talk.quiet or not is_first()).say
    begin = _storybook if recipe == STORYBOOK and not Path(recipe).is_file() else _by_recipe
    folder = out or Path("runs") / Path(recipe).stem
    session = begin(recipe, own, storybook, folder, samples, say)
    outcome = session.run(math.inf if minutes is None else minutes * 60)
    if not is_first():
        return
    if talk.json:
        told = dataclasses.asdict(outcome)
        emit_json({**told, "model": str(outcome.model) if outcome.model else None})
    else:
        emit(str(outcome.model or session.out))


def _by_recipe(
    recipe: str,
    own: RecipeOptions,
    storybook: StorybookOptions,
    out: Path,
    samples: int | None,
    say: Say,
) -> Session:
    """Return a training by a YAML file."""
    _refuse(recipe, "--preset", storybook.preset, "it is of `artv train storybook`")
    _refuse(recipe, "--start-from", storybook.start_from, "its `model` is what it starts from")
    _refuse(recipe, "--decoder-only", storybook.decoder_only, "it is of `artv train storybook`")
    from artv_cli.train.training_recipe import load_training_recipe

    asked = load_training_recipe(Path(recipe))
    if own.lora is not None:
        asked = asked.with_lora(own.lora)
    from artv_cli.train.session import Session  # torch comes with it

    return Session(asked, out, device=own.device or "auto", samples=samples, say=say)


def _storybook(
    recipe: str,
    own: RecipeOptions,
    options: StorybookOptions,
    out: Path,
    samples: int | None,
    say: Say,
) -> StorybookSession:
    """Return a training of the embedded model."""
    _refuse(recipe, "--device", own.device, "its --preset says where it trains")
    _refuse(recipe, "--lora", own.lora, "its networks are small and trained in full")
    if options.preset is None:
        raise UsageError(
            f"the recipe {recipe} needs a --preset",
            "Say `artv train storybook --preset cpu`, or gpu where there is a card.",
        )
    if options.decoder_only:
        _refuse(recipe, "--samples", samples, "with --decoder-only the networks stay as they are")
        if options.start_from is None:
            raise UsageError(
                f"--decoder-only of {recipe} needs a model whose decoder it trains",
                "Name it with --start-from.",
            )
    from artv_cli.train.preset import PRESETS  # torch comes with both
    from artv_cli.train.storybook_session import StorybookSession

    return StorybookSession(
        PRESETS[options.preset],
        out,
        start_from=options.start_from,
        decoder_only=options.decoder_only,
        samples=samples,
        say=say,
    )


def _refuse(recipe: str, option: str, value: object, reason: str) -> None:
    """Raise UsageError where an option was given that this recipe cannot take."""
    if value:
        raise UsageError(f"the recipe {recipe} takes no {option}: {reason}", f"Leave {option} out.")
