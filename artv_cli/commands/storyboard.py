"""Commands about storyboards: plan, check, init, schema. None of them draws anything."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from artv_cli.cache.store import FrameStore
from artv_cli.commands.options import Source, StoryOptions, TalkOptions
from artv_cli.commands.sources import story_request
from artv_cli.console import (
    duration,
    emit,
    emit_json,
    emit_prose,
    emit_table,
    file_size,
    to_do,
)
from artv_cli.errors import UsageError
from artv_cli.files.output import write_text
from artv_cli.forecast import Forecast, SegmentForecast, forecast, outdated_by
from artv_cli.history import NEW_FRAME, Change, Comparison, Explanation, recall
from artv_cli.render import lacks
from artv_cli.starter import STARTER
from artv_cli.story import Story, open_store, open_story
from artv_cli.storyboard import json_schema
from artv_cli.talk import Talk

_KEY_SHOWN = 12  # characters of a key that people see


def plan(
    file: Source,
    frames: StoryOptions,
    talk: TalkOptions,
    explain: Annotated[
        int | None,
        typer.Option(help="Say which part of this frame's key changed.", metavar="FRAME"),
    ] = None,
) -> None:
    """Say what would be rendered and what reused, and what it would take.

    artv plan story.yaml
    artv plan story.yaml --explain 17
    artv plan story.yaml --json

    Frames count from 1, in JSON as well. Nothing is drawn and no model is
    loaded; the time is told from frames that were drawn here before.
    """
    request = story_request(file, frames.settings())
    observer = Talk(quiet=talk.quiet)
    story = open_story(request, observer)
    store = open_store(request, observer)
    told = forecast(story, store)
    why = None if explain is None else _explanation(story, explain)
    here = None if explain is None else _stored(story, store, explain)
    if talk.json:
        extra = {}
        if here is not None:
            outdated = {"outdated_by": here.outdated_by}
            extra = {"explanation": why and dataclasses.asdict(why) | outdated}
        emit_json(dataclasses.asdict(told) | extra)
        return
    _print_forecast(request.storyboard.name, told)
    if explain is not None and here is not None:
        emit_prose(_explained(why, explain, store.root, here))


def check(file: Source, frames: StoryOptions, talk: TalkOptions) -> None:
    """Check a storyboard, its images and its model, without rendering.

    artv check story.yaml

    Every problem of the storyboard is told at once, with its line and column;
    then a problem of its model, or all those of its images.
    """
    story = open_story(story_request(file, frames.settings()), Talk(quiet=talk.quiet))
    plan = story.plan
    seconds = len(plan.frames) / plan.fps
    segments = len(story.request.storyboard.segments)
    if talk.json:
        emit_json(
            {"valid": True, "segments": segments, "frames": len(plan.frames),
             "seconds": float(seconds), "size": list(plan.size)}
        )  # fmt: skip
        return
    size = "x".join(map(str, plan.size))
    name = story.request.storyboard.name
    emit_prose(
        f"{name}: {segments} segments, {len(plan.frames)} frames of {size}, {float(seconds):g} s"
    )


def init(
    name: Annotated[str, typer.Argument(help="File to write.", metavar="NAME")] = "story.yaml",
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Overwrite a file.")] = False,
) -> None:
    """Write a commented storyboard to start from; it renders as it is.

    artv init
    artv init moon.yaml
    """
    path = Path(name)
    if os.path.isdir(name) or name.endswith(os.sep):
        path = path / "story.yaml"
    elif path.suffix not in (".yaml", ".yml"):
        path = Path(f"{name}.yaml")
    if path.exists() and not yes:
        raise UsageError(f"{path} is there already.", "Add --yes to overwrite it.")
    write_text(path, STARTER)
    emit(str(path))


def schema() -> None:
    """Print the JSON Schema of a storyboard, for editors.

    artv schema > storyboard.schema.json
    """
    emit_json(json_schema(), indent=2)


def _print_forecast(name: str, told: Forecast) -> None:
    work = to_do(told.cached, told.to_render, told.pictures, told.anchor_images)
    emit_prose(f"{name}: {told.frames} frames, {work}")
    emit_table(
        ("segment", "frames", "cached", "to render", "changed", "prompt"),
        ((s.segment, s.frames, s.cached, s.to_render, _why(s), s.prompt) for s in told.segments),
    )
    if told.first_change is None:
        return
    segment = next(s.segment for s in told.segments if s.to_render)
    emit_prose(f"first changed frame: {told.first_change} (segment {segment})")
    need = told.estimate
    time = "not timed yet" if need.seconds is None else f"about {duration(need.seconds)}"
    besides = ["the pictures"] * bool(told.pictures)
    if need.seconds is not None:
        besides.append("loading the model")
    time += f", besides {' and '.join(besides)}" if besides else ""
    emit_prose(f"to render: {time}, {file_size(need.bytes)} of {file_size(need.free_bytes)} free")


def _why(segment: SegmentForecast) -> str:
    """Return what the first frame to draw is drawn for, in a few words."""
    if segment.first_change is None:
        return ""
    parts = ", ".join(segment.changed)
    if segment.outdated_by is not None:
        why = f"{segment.outdated_by} came out otherwise"
    elif segment.cause is None:
        why = "not in the cache"
    elif segment.changed == (NEW_FRAME,):
        is_own = segment.cause == segment.first_change
        why = "new" if is_own else f"frame {segment.cause} is new"
    else:
        why = parts if segment.cause == segment.first_change else f"{parts} of {segment.cause}"
    return f"frame {segment.first_change}: {why}"


@dataclasses.dataclass(frozen=True)
class _Stored:
    """Whether the cache has a frame, and which one that it is made from came out otherwise."""

    is_there: bool
    outdated_by: str | None

    def __str__(self) -> str:
        if self.outdated_by is not None:
            return (
                f"it is in the cache, but {self.outdated_by}, which it is made from, came out"
                " otherwise"
            )
        return "it is in the cache" if self.is_there else "it is not in the cache"


def _stored(story: Story, store: FrameStore, number: int) -> _Stored:
    key = story.plan.frames[number - 1].key
    origin = outdated_by(story.plan, lacks(story.plan, store), key)
    return _Stored(store.peek(key) is not None, origin)


def _explanation(story: Story, number: int) -> Explanation | None:
    count = len(story.plan.frames)
    if not 1 <= number <= count:
        raise UsageError(
            f"--explain {number}: there is no such frame.", f"Name one from 1 to {count}."
        )
    past = recall(story.request.cache, story.request.storyboard)
    return None if past is None else Comparison(story.plan, past).explain(number)


def _explained(why: Explanation | None, number: int, cache: Path, here: _Stored) -> str:
    if why is None:
        return f"frame {number}: this storyboard was not rendered into {cache} before; {here}"
    if why.cause is None:
        same = "made from the same as when this storyboard was last rendered"
        return f"frame {number}: {same}; {here}"
    because = "" if why.cause == number else f" because frame {why.cause} did"
    found = [f"  {here}: it was drawn before"] if here.is_there else []
    return "\n".join([f"frame {number} changed{because}:", *map(_change, why.changes), *found])


def _change(change: Change) -> str:
    before, after = (_shown(value) for value in (change.before, change.after))
    return f"  {change.part}: {before} -> {after}"


def _shown(value: object) -> str:
    """Return an ingredient as people read it: digests cut short."""
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    text = str(value)
    is_digest = len(text) == 64 and " " not in text
    return text[:_KEY_SHOWN] if is_digest else text
