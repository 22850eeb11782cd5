"""The command that makes captioned videos into shards to train on: prepare."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from artv_cli.commands.options import TalkOptions
from artv_cli.console import duration, emit, emit_json
from artv_cli.errors import UsageError
from artv_cli.talk import Talk

_WORDS = {
    "too_still": "too still",
    "too_wild": "too wild",
    "poor_caption": "with worse captions",
    "too_short": "too short",
}
_COUNTS = ("videos", "unreadable", "clips", "seconds")


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Which clips are cut."""

    size: Annotated[
        int,
        typer.Option(help="Shorter side of the clips in pixels.", metavar="N", min=32, max=2048),
    ] = 320
    max_seconds: Annotated[
        float,
        typer.Option(help="Longest clip; longer shots are split.", metavar="N", min=1, max=60),
    ] = 10.0
    min_motion: Annotated[
        float, typer.Option(help="Least motion of a clip, 0 to 255.", metavar="N", min=0)
    ] = 1.0
    max_motion: Annotated[
        float, typer.Option(help="Most motion of a clip, 0 to 255.", metavar="N", min=0)
    ] = 20.0

    @property
    def motion(self) -> tuple[float, float]:
        """The least and the most motion of a clip. Raises UsageError."""
        least, most = self.min_motion, self.max_motion
        if least > most:
            raise UsageError(f"--min-motion {least} is above --max-motion {most}.")
        return least, most


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """Which clips are kept for their captions."""

    clip_model: Annotated[
        str | None,
        typer.Option(help="Score captions with this CLIP: a folder or a hub id.", metavar="NAME"),
    ] = None
    keep: Annotated[
        float | None,
        typer.Option(
            help="With --clip-model: share with the best captions to keep; else 0.5.",
            metavar="N",
            max=1,
        ),
    ] = None

    @property
    def share(self) -> float:
        """The share with the best captions that is kept. Raises UsageError."""
        if self.keep is None:
            return 0.5
        if self.clip_model is None:
            raise UsageError(
                f"--keep {self.keep} chooses by the scores of --clip-model, which is missing.",
                "Say --clip-model too, or leave --keep out.",
            )
        if self.keep <= 0:
            raise UsageError(f"--keep {self.keep} keeps nothing.", "Say a share, such as 0.5.")
        return self.keep


def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Folders (sidecar texts, tars), .csv lists, WebDataset .tars, or videos.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards.", metavar="DIR")],
    talk: TalkOptions,
    clips: ClipOptions,
    captions: CaptionOptions,
    videos: Annotated[
        Path | None,
        typer.Option(help="Folder that a .csv's paths start from; else its own.", metavar="DIR"),
    ] = None,
    latents: Annotated[
        str | None,
        typer.Option(help="Store this model's latents as well, at its own size.", metavar="MODEL"),
    ] = None,
    shard_samples: Annotated[
        int, typer.Option(help="Clips in a shard.", metavar="N", min=1, max=100_000)
    ] = 256,
    workers: Annotated[
        int | None, typer.Option(help="Videos at once; else one a core.", metavar="N", min=1)
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", metavar="DEVICE")
    ] = "auto",
) -> None:
    """Make captioned videos into shards to train on: cut into shots, scored, chosen.

    artv prepare videos/ --out clips
    artv prepare webvid.csv --videos webvid/ --out clips --clip-model openai/clip-vit-large-patch14
    artv prepare more/*.tar --out clips --latents ./my-model

    A stopped run goes on when the same command is run again. Videos that cannot
    be read are listed in unreadable.txt.
    """
    share, motion = captions.share, clips.motion
    # What no other command needs is loaded here: the room takes a moment.
    from artv_cli.prepare.preparation import UNREADABLE, Order
    from artv_cli.prepare.preparation import prepare as carry_out

    talker = Talk(quiet=talk.quiet)
    report = carry_out(
        Order(
            places=tuple(sources),
            out=out,
            videos=videos,
            size=clips.size,
            max_seconds=clips.max_seconds,
            motion=motion,
            clip_model=captions.clip_model,
            keep=share,
            latents=latents,
            shard_samples=shard_samples,
            workers=workers or os.cpu_count() or 1,
            device=device,
        ),
        lambda message: talker.say(message, "dim"),
    )
    _tell(report, out / UNREADABLE, talker)
    if talk.json:
        emit_json({"output": str(out), **{k: report[k] for k in _COUNTS}})
    else:
        emit(str(out))


def _tell(report: dict[str, Any], unreadable: Path, talker: Talk) -> None:
    clips = report["clips"]
    left = ", ".join(f"{clips[name]} {words}" for name, words in _WORDS.items() if clips[name])
    dropped = f"; left out: {left}" if left else ""
    kept = f"{clips['kept']} clip{'s' * (clips['kept'] != 1)}"
    talker.say(f"{kept}, {duration(report['seconds'])} in all{dropped}")
    if report["unreadable"]:
        count = f"{report['unreadable']} of {report['videos']}"
        talker.warn(f"{count} videos cannot be used: {unreadable}")
    if not clips["kept"]:
        talker.warn("no clip was kept; report.json says why")
