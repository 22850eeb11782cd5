"""Commands that end in a film: story, animate, t2v, export."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from artv_cli.commands.options import (
    EventOptions,
    FilmOptions,
    FrameOptions,
    Source,
    StoryOptions,
    WorkOptions,
)
from artv_cli.commands.sources import STDIN, clip_request, story_request
from artv_cli.console import duration, emit
from artv_cli.events import Events
from artv_cli.export import Output
from artv_cli.observer import Observer, Several
from artv_cli.preview import PreviewFile, check_preview, preview_path
from artv_cli.recipe import sidecar_path
from artv_cli.story import StoryReport, StoryRequest, export_story, render_story
from artv_cli.talk import Talk

Prompt = Annotated[str, typer.Argument(help="What the clip shows.", show_default=False)]
Frames = Annotated[
    int, typer.Option(help="How many frames the clip has.", metavar="N", min=1, max=100_000)
]
SaveMasks = Annotated[
    Path | None,
    typer.Option(
        help="Write what each frame copied from the one before: masks, a table, a sheet.",
        rich_help_panel="Output",
        metavar="DIR",
    ),
]
_CLIP_FRAMES = 24


def story(
    file: Source,
    film: FilmOptions,
    frames: StoryOptions,
    work: WorkOptions,
    talk: EventOptions,
    save_masks: SaveMasks = None,
) -> None:
    """Render a storyboard into a film, reusing every frame that is there.

    artv story story.yaml
    artv story story.yaml -o film.gif --steps 50
    artv story film.mp4 -o again.mp4
    artv story story.yaml --save-masks masks

    The same command again goes on where a stopped one left off, and after an
    edit draws only what the edit changed. The film is written to the current
    folder unless -o says otherwise.
    """

    def request() -> StoryRequest:
        return story_request(file, frames.settings(fps=film.fps, **asdict(work)))

    target = replace(_target(file, film), masks=save_masks)
    _make(render_story, request, target, film.preview, talk)


def animate(
    image: Annotated[Path, typer.Argument(help="The first frame: PNG, JPEG or WebP.")],
    prompt: Prompt,
    film: FilmOptions,
    options: FrameOptions,
    work: WorkOptions,
    talk: EventOptions,
    frames: Frames = _CLIP_FRAMES,
    save_masks: SaveMasks = None,
) -> None:
    """Bring a picture to life.

    artv animate cat.png "the cat jumps"
    artv animate cat.png "the cat walks left" -o cat.gif --frames 32

    The picture is the first frame, cropped to the film's shape and scaled to
    its size.
    """

    def request() -> StoryRequest:
        over = options.settings(fps=film.fps, **asdict(work))
        return clip_request(prompt, frames, over, image)

    target = replace(film.target(_clip(image.stem, options.seed)), masks=save_masks)
    _make(render_story, request, target, film.preview, talk)


def t2v(
    prompt: Prompt,
    film: FilmOptions,
    options: StoryOptions,
    work: WorkOptions,
    talk: EventOptions,
    frames: Frames = _CLIP_FRAMES,
    save_masks: SaveMasks = None,
) -> None:
    """Make a clip from one sentence: text to video.

    artv t2v "a rocket flies up at night"
    artv t2v "a cat jumps in a meadow" --seed 3 -o cat.gif

    The film is named after the prompt, and after the seed if one is given,
    unless -o says otherwise.
    """

    def request() -> StoryRequest:
        over = options.settings(fps=film.fps, **asdict(work))
        return clip_request(prompt, frames, over)

    target = replace(film.target(_clip(slug(prompt), options.seed)), masks=save_masks)
    _make(render_story, request, target, film.preview, talk)


def export(file: Source, film: FilmOptions, frames: StoryOptions, talk: EventOptions) -> None:
    """Write a film again from the cache alone, without a model.

    artv export story.yaml -o film.gif
    artv export story.yaml -o film.mp4 --fps 12
    artv export story.yaml -o frames/

    Give the flags that the story was rendered with: they decide which frames are meant.
    """

    def request() -> StoryRequest:
        return story_request(file, frames.settings(fps=film.fps))

    _make(export_story, request, _target(file, film), film.preview, talk)


def slug(prompt: str) -> str:
    """Return a file name made of a prompt's words, at most 60 characters.

    Longer ones are cut and end in a digest: prompts that only begin alike make two films.
    """
    words = "-".join(re.findall(r"\w+", prompt.lower())) or "clip"
    if len(words) <= 60:
        return words
    return f"{words[:51].rstrip('-')}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def _clip(name: str, seed: str | None) -> Path:
    """Return what a clip is called: another seed is another try, and takes no other's place."""
    return Path(f"{name}.mp4" if seed is None else f"{name}-seed-{slug(seed)}.mp4")


def _target(file: str, film: FilmOptions) -> Output:
    """Return where the film goes; one made again is not put over the first unless -o says so."""
    given = Path(os.path.abspath(file))  # it may be "."
    stem = "story" if file == STDIN else given.stem
    if given.suffix.lower() == ".json":  # a recipe: film.mp4.json
        stem = stem.removesuffix(".mp4")
    usual = Path(f"{stem}.mp4")
    first = [os.path.realpath(path) for path in (usual, sidecar_path(usual))]
    is_itself = os.path.realpath(file) in first
    return film.target(Path(f"{stem}-again.mp4") if is_itself else usual)


def _make(
    work: Callable[[StoryRequest, Output, Observer], StoryReport],
    request: Callable[[], StoryRequest],
    output: Output,
    preview: bool,
    talk: EventOptions,
) -> None:
    """Do the work, heard by a program or by a person."""
    if talk.json:
        events = Events(quiet=talk.quiet)
        events.finished(work(request(), output, _watched(events, output, preview)))
        return
    with Talk(quiet=talk.quiet, pictures=preview) as listener:
        report = work(request(), output, _watched(listener, output, preview))
    listener.say(_summary(report))
    if report.masks is not None:
        listener.say(f"masks in {report.masks}")
    emit(str(report.output))


def _watched(observer: Observer, output: Output, preview: bool) -> Observer:
    if not preview:
        return observer
    path = preview_path(output.path)
    check_preview(path, output.overwrite)
    return Several(observer, PreviewFile(path, observer.warn))


def _summary(report: StoryReport) -> str:
    pace = report.seconds_per_frame
    each = "" if pace is None else f" ({pace:.2f} s/frame)"
    drawn = f"{report.rendered} rendered, {report.reused} reused"
    return f"{report.frames} frames: {drawn}, {duration(report.seconds)}{each}"
