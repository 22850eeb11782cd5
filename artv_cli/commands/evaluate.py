"""Commands that measure what a model draws: storybook."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from artv_cli.commands.options import TalkOptions
from artv_cli.console import emit_json, emit_table
from artv_cli.errors import UsageError
from artv_cli.files.output import write_text
from artv_cli.launcher import is_first, program
from artv_cli.loading import open_engine
from artv_cli.model.folder import find_model
from artv_cli.story import DEFAULT_MODEL
from artv_cli.talk import Talk

_HEADERS = ("figure", "bar", "measured", "95 %", "")


@dataclass(frozen=True, kw_only=True)
class StoryOptions:
    """Which stories are judged, and under which settings."""

    segments: Annotated[
        int,
        typer.Option(
            help="How many segments are judged, besides long stories.",
            metavar="N",
            min=1,
            max=100_000,
        ),
    ] = 200
    frames_long: Annotated[
        int, typer.Option(help="Frames of a long story.", metavar="N", min=16, max=10_000)
    ] = 256
    seed: Annotated[
        int, typer.Option(help="Other stories of the same kinds.", metavar="N", min=0)
    ] = 0
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare settings, as in noise_level=0,200; may be given again.",
            metavar="NAME=A,B",
        ),
    ] = None


def storybook(
    talk: TalkOptions,
    stories: StoryOptions,
    model: Annotated[
        str, typer.Option(help="An embedded model, a model folder, or a hub id.", metavar="NAME")
    ] = DEFAULT_MODEL,
    judge: Annotated[
        Path | None,
        typer.Option(help="The folder of a judge; by default the one inside.", metavar="FOLDER"),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", metavar="DEVICE")
    ] = "auto",
    out: Annotated[
        Path, typer.Option(help="The page of Markdown to write.", metavar="FILE")
    ] = Path("storybook.md"),
) -> None:
    """Judge a model on stories of the storybook's world that it was never shown.

    artv evaluate storybook --out benchmarks/storybook.md
    artv evaluate storybook --vary guidance.on=dynamic,composed --vary noise_level=0,100,400

    Verdicts are kept beside the page, in a .jsonl file: the same command goes
    on where a stopped one left off. Processes that torchrun starts share them.
    """
    ledger = _ledger(out)
    folder = find_model(model)
    from artv_cli.evaluate.report import check_page, told  # torch comes with all of these
    from artv_cli.evaluate.storybook import Evaluation, evaluate, read_ways
    from artv_cli.evaluate.verdict import EMBEDDED_JUDGE, load_judge

    check_page(out)
    evaluation = Evaluation(
        model=folder,
        judge=load_judge(judge or EMBEDDED_JUDGE),
        ledger=ledger,
        segments=stories.segments,
        frames_long=stories.frames_long,
        seed=stories.seed,
        ways=read_ways(stories.vary or []),
        command=f"{program()} {shlex.join(sys.argv[1:])}",
    )
    listener = Talk(quiet=talk.quiet)
    report = evaluate(evaluation, lambda one: open_engine(one, listener, device), listener.say)
    if not is_first():
        return
    write_text(out, report.to_markdown())
    listener.say(f"written to {out}")
    if talk.json:
        emit_json({"output": str(out), **report.to_json()})
        return
    figures = report.variants[0].figures
    emit_table(_HEADERS, ((f.name, str(f.bar), *told(f)) for f in figures))


def _ledger(page: Path) -> Path:
    """Return where the verdicts are kept; UsageError where the page cannot stand beside them."""
    if page.is_dir():
        raise UsageError(f"--out {page} is a folder", "Name a file in it, as in storybook.md.")
    if page.suffix.lower() == ".jsonl":
        raise UsageError(
            f"--out {page} is where the verdicts are kept", "Name the page, as in storybook.md."
        )
    return page.with_suffix(".jsonl")
