"""A storyboard: the recipe of a film, read from YAML with every problem found at once.

`load_storyboard` and `parse_storyboard` read it, `dump_storyboard` writes it in one canonical way,
`json_schema` describes it to editors. Places in messages are 1-based: `name:line:column`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import yaml
from pydantic import PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from artv_cli.errors import Problem, StoryboardError
from artv_cli.files.input_file import read_input
from artv_cli.setting_tables import TABLES, Frozen
from artv_cli.settings import DrawSettings, FilmSettings, Settings
from artv_cli.storyboard_form import (
    ANCHOR_TAGS,
    DEFAULT_FPS,
    Anchor,
    Fade,
    FrameAnchor,
    Frames,
    Line,
    Loc,
    Opening,
    SegmentForm,
    StoryboardForm,
    disagreements,
    json_schema,
    num_frames,
)
from artv_cli.wording import sentence
from artv_cli.yaml_source import MAX_BYTES, Node, Place, Unreadable, read_yaml

__all__ = [
    "PIPED",
    "Anchor",
    "FrameAnchor",
    "Segment",
    "Storyboard",
    "dump_storyboard",
    "json_schema",
    "load_storyboard",
    "parse_storyboard",
]

PIPED = "<stdin>"  # the name of a storyboard from standard input
_MAX_PROBLEMS = 100


class Segment(Frozen):
    """Frames that share a prompt.

    `frames` is what it adds to the film; `anchor` is "previous", "first", "key", a FrameAnchor, an
    image's path, or None for the paper's rule; of `settings` only those of DrawSettings count.
    """

    prompt: Line
    frames: Frames
    settings: Settings = Settings()
    start: Opening = "continue"
    anchor: Anchor | None = None
    image: Line | None = None
    fade: Fade = 0
    narration: Line | None = None


@dataclass(frozen=True)
class _Source:
    """The document that a storyboard was read from, if any: equal ones may be written apart."""

    document: Node | None = field(default=None, compare=False)


class Storyboard(Frozen):
    """A film's recipe; images are relative to `folder`, `name` stands before its messages."""

    segments: tuple[Segment, ...]
    title: Line | None = None
    image: Line | None = None
    settings: Settings = Settings()
    name: str = "storyboard"
    folder: Path = Path()
    _source: _Source = PrivateAttr(default=_Source())

    def at(self, *loc: int | str) -> str:
        """Return "name:line:column: " of a value of the file; nothing for one read from no file."""
        if self._source.document is None:
            return ""
        line, column = self._source.document.find(loc)
        return f"{self.name}:{line}:{column}: "


def load_storyboard(path: Path) -> Storyboard:
    """Return the storyboard in a YAML file.

    UsageError when it is no readable file, StoryboardError with every problem in it.
    """
    source = read_input(path, MAX_BYTES)
    return parse_storyboard(source, name=str(path), folder=path.parent)


def parse_storyboard(text: str | bytes, *, name: str, folder: Path) -> Storyboard:
    """Return the storyboard in YAML text; StoryboardError with every problem in it."""
    try:
        document, problems = read_yaml(text)
    except Unreadable as error:
        raise StoryboardError(name, _worth_telling(error.problems)) from None
    raw = document.plain()
    try:
        form, errors = StoryboardForm.model_validate(raw), list[ErrorDetails]()
    except ValidationError as error:
        errors = error.errors(include_url=False)
        form = _mended(raw, errors)
    spoiled = {(problem.line, problem.column) for problem in problems}
    problems += _problems(document, form, errors, spoiled)
    if problems:
        raise StoryboardError(name, _worth_telling(problems))
    storyboard = _storyboard(form, name, folder)
    storyboard._source = _Source(document)
    return storyboard


def _storyboard(form: StoryboardForm, name: str, folder: Path) -> Storyboard:
    """Return what the form says, with durations as frames and settings by themselves."""
    fps = form.fps or DEFAULT_FPS
    segments = (
        _fields(Segment, segment)
        | {"frames": num_frames(segment, fps), "settings": _fields(DrawSettings, segment)}
        for segment in form.segments
    )
    return Storyboard.model_validate(
        _fields(Storyboard, form)
        | {"segments": list(segments), "settings": _fields(FilmSettings, form)}
        | {"name": name, "folder": folder}
    )


def _fields(model: type[Frozen], form: Frozen) -> dict[str, Any]:
    """Return those values of `form` that `model` has fields for."""
    return {name: getattr(form, name) for name in model.model_fields if hasattr(form, name)}


def _mended(raw: object, errors: Sequence[ErrorDetails]) -> StoryboardForm:
    """Return the form without the values that `errors` complain of, so that the rest is checked."""
    film = dict(raw) if isinstance(raw, dict) else {}
    segments = film.get("segments")
    film["segments"] = [
        {"prompt": "-"} | segment if isinstance(segment, dict) else {"prompt": "-"}
        for segment in (segments if isinstance(segments, list) else ())
    ]
    for loc in map(_loc, errors):
        match loc:
            case ("segments", int(index), str(key), *_):
                film["segments"][index].pop(key, None)
            case (str(key), *_) if key != "segments":
                film.pop(key, None)
    for segment in film["segments"]:
        segment.setdefault("prompt", "-")
    return StoryboardForm.model_validate(film)


def _problems(
    document: Node, form: StoryboardForm, errors: Sequence[ErrorDetails], spoiled: Collection[Place]
) -> Iterator[Problem]:
    """Yield what is wrong with the values, each where it stands in the document.

    A value whose place is `spoiled` has been complained of already.
    """
    troubled = {_loc(error)[:depth] for error in errors for depth in (1, 3)}
    for loc, message in disagreements(form, troubled) if () not in troubled else ():
        yield Problem(*document.find(loc), message)
    placed = [(document.find(_loc(e), key=e["type"] == "extra_forbidden"), e) for e in errors]
    of_keys = ("missing", "extra_forbidden")
    sound = (p for p in placed if p[0] not in spoiled or p[1]["type"] in of_keys)
    for place, error in sorted(sound, key=itemgetter(0))[: _MAX_PROBLEMS + 1]:
        yield Problem(*place, _sentence(error))


def _loc(error: ErrorDetails) -> Loc:
    """Return the place of an error in the document: without the tags that pydantic puts in."""
    pairs = pairwise(("", *error["loc"]))
    return tuple(part for last, part in pairs if last != "anchor" or part not in ANCHOR_TAGS)


def _sentence(error: ErrorDetails) -> str:
    """Return what is wrong with one value; a key that belongs elsewhere is told where to."""
    loc = _loc(error)
    key, in_segment = str(loc[-1]) if loc else "", "segments" in loc[:1]
    if error["type"] == "extra_forbidden" and len(loc) in (1, 3):
        if key == "cache":
            return f"'{key}' is not for a storyboard; use --cache or ARTV_CACHE_DIR"
        if in_segment and key in StoryboardForm.model_fields:
            return f"'{key}' holds for the whole film; move it out of the segment, to the top"
        if not in_segment and key in SegmentForm.model_fields:
            return f"'{key}' belongs to a segment; move it under `segments:`"
    return sentence({**error, "loc": loc}, _known(loc))


def _known(loc: Loc) -> Iterable[str]:
    """Return the keys that are allowed beside the last one of `loc`."""
    inner: dict[str, type[Frozen]] = {**TABLES, "anchor": FrameAnchor}
    form = SegmentForm if loc[:1] == ("segments",) else StoryboardForm
    model = inner.get(str(loc[-2]), form) if len(loc) > 1 else form
    return sorted(model.model_fields, key=lambda name: name not in model.__annotations__)


def _worth_telling(problems: Iterable[Problem]) -> list[Problem]:
    """Return no more problems than a person reads."""
    told = sorted(set(problems))
    if len(told) <= _MAX_PROBLEMS:
        return told
    return [*told[:_MAX_PROBLEMS], replace(told[_MAX_PROBLEMS], message="and more from here on")]


class _Dumper(yaml.SafeDumper):
    """Writes everything out, without anchors and aliases; a pair on one line."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    tuple, lambda dumper, pair: dumper.represent_sequence("tag:yaml.org,2002:seq", pair, True)
)


def dump_storyboard(storyboard: Storyboard) -> str:
    """Return the storyboard as YAML, from which `parse_storyboard` makes an equal one.

    What was not said is left out, and so are `name`, `folder` and `settings.cache`: they belong to
    the machine, not to the story.
    """
    film = _said(storyboard, {"segments", "settings", "name", "folder"})
    film |= _said(storyboard.settings, {"cache"})
    film["segments"] = [
        _said(segment, {"settings"}) | _said(segment.settings) for segment in storyboard.segments
    ]
    return yaml.dump(film, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _said(record: Frozen, but: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields that differ from their defaults, as values that YAML has."""
    fields = type(record).model_fields
    values = {name: getattr(record, name) for name in fields if name not in but}
    return {name: _plain(v) for name, v in values.items() if v != fields[name].default}


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else str(value)
    return _said(value) if isinstance(value, Frozen) else value
