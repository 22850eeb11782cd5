"""The form of a storyboard file: which keys stand where, what they allow, and what agrees.

`StoryboardForm` is what pydantic checks value by value and what an editor's schema is made from;
`disagreements` checks values against one another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from artv_cli.quantities import Duration
from artv_cli.scalars import Choice, Kind, Text, Whole
from artv_cli.setting_tables import Frozen
from artv_cli.settings import DrawSettings, FilmSettings
from artv_cli.wording import did_you_mean, shown

MAX_FRAMES = 100_000
DEFAULT_FPS = Fraction(8)
ANCHOR_WORDS = ("previous", "first", "key")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

Loc: TypeAlias = tuple[int | str, ...]
Start = Literal["continue", "cut"]


class FrameAnchor(Frozen):
    """A frame of the film as anchor: segment and frame within it, both counted from 1."""

    segment: Annotated[int, Whole(1, MAX_FRAMES)] = Field(description="Which segment, from 1.")
    frame: Annotated[int, Whole(1, MAX_FRAMES)] = Field(description="Which of its frames, from 1.")


class AnchorWord(Kind):
    """One of ANCHOR_WORDS or the path of an image, told apart by the path's ending."""

    schema = {
        "type": "string",
        "pattern": f"^({'|'.join(ANCHOR_WORDS)})$|[.](png|jpe?g|webp|PNG|JPE?G|WEBP)$",
        "examples": list(ANCHOR_WORDS),
    }

    def parse(self, value: object) -> str:
        text = Text().parse(value) if isinstance(value, str) else ""
        if text in ANCHOR_WORDS or text.lower().endswith(IMAGE_SUFFIXES):
            return text
        raise ValueError(
            "must be previous, first, key, {segment: 1, frame: 3} or the path of a PNG, JPEG or "
            f"WebP image; not {shown(value)}{did_you_mean(text, ANCHOR_WORDS)}"
        )


ANCHOR_TAGS = ("a frame", "a word")  # pydantic puts them into the place of an error
Anchor: TypeAlias = Annotated[
    Annotated[FrameAnchor, Tag("a frame")] | Annotated[str, AnchorWord(), Tag("a word")],
    Discriminator(lambda value: ANCHOR_TAGS[not isinstance(value, dict | FrameAnchor)]),
]
Frames: TypeAlias = Annotated[int, Whole(1, MAX_FRAMES)]
Fade: TypeAlias = Annotated[int, Whole(0, MAX_FRAMES)]
Line: TypeAlias = Annotated[str, Text()]
Opening: TypeAlias = Annotated[Start, Choice(("continue", "cut"))]


class SegmentForm(DrawSettings):
    """One segment as it is written: frames that share a prompt."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["frames"]}, {"required": ["duration"]}]}
    )

    prompt: Line = Field(description="What its frames show.")
    frames: Frames | None = Field(default=None, description="How many frames it adds to the film.")
    duration: Annotated[Fraction, Duration()] | None = Field(
        default=None, description="How long it lasts, instead of frames: 2s, 1500ms, 0:02."
    )
    start: Opening = Field(
        default="continue",
        description="Carry the references over, or begin with a fresh key frame.",
    )
    anchor: Anchor | None = Field(
        default=None, description="The frame that sets scene and looks: left out, the last one of "
        "the segment before; after a cut, the key frame.",
    )  # fmt: skip
    image: Line | None = Field(default=None, description="A picture as the key frame of a cut.")
    fade: Fade = Field(
        default=0, description="How many of its first frames dissolve from the last one before."
    )
    narration: Line | None = Field(default=None, description="Its subtitle.")


class StoryboardForm(FilmSettings):
    """A story as it is written: its segments, and the settings of the film."""

    model_config = ConfigDict(title="artv storyboard")

    title: Line | None = Field(default=None, description="The film's title.")
    image: Line | None = Field(
        default=None, description="A picture as the first frame; left out, the model draws it."
    )
    segments: list[SegmentForm] = Field(
        description="The parts of the story, in order.", json_schema_extra={"minItems": 1}
    )


class _EditorSchema(GenerateJsonSchema):
    """What may be left out is simply not required: no value of a storyboard is null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        return {k: v for k, v in described.items() if k != "default" or v is not None}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of a storyboard file, for editors."""
    schema = StoryboardForm.model_json_schema(
        ref_template="#/definitions/{model}", schema_generator=_EditorSchema
    )
    definitions = schema.pop("$defs")
    draft = "http://json-schema.org/draft-07/schema#"
    return {"$schema": draft, **schema, "definitions": definitions}


def num_frames(segment: SegmentForm, fps: Fraction) -> int | None:
    """Return how many frames a segment adds, a duration rounded to the nearest; None if unsaid."""
    if segment.frames is not None or segment.duration is None:
        return segment.frames
    return int(segment.duration * fps + Fraction(1, 2))


def disagreements(form: StoryboardForm, troubled: Collection[Loc]) -> Iterator[tuple[Loc, str]]:
    """Yield what does not agree, with its place; nothing that rests on a `troubled` value."""
    if not form.segments and ("segments",) not in troubled:
        yield ("segments",), "'segments' is empty; a story needs at least one"
    counts: list[int | None] = []
    for index, segment in enumerate(form.segments):
        at: Loc = ("segments", index)
        if at in troubled:
            counts.append(None)
            continue
        lengths: list[Loc] = [(*at, "frames"), (*at, "duration")]
        lengths += [("fps",)] if segment.duration is not None else []
        if any(loc in troubled for loc in lengths):
            counts.append(None)
        else:
            counts.append(num_frames(segment, form.fps or DEFAULT_FPS))
            yield from ((at + loc, message) for loc, message in _length(segment, counts))
        if (*at, "start") not in troubled:
            yield from ((at + loc, message) for loc, message in _opening(form, index))
        yield from ((at + loc, message) for loc, message in _anchor(segment, counts))
        yield from ((at + loc, message) for loc, message in _fade(segment, counts))


def _length(segment: SegmentForm, counts: list[int | None]) -> Iterator[tuple[Loc, str]]:
    count = counts[-1]
    which: Loc = ("duration",) if segment.frames is None else ("frames",)
    if count is None:
        yield (), "this segment has no length; add `frames: 16` or `duration: 2s`"
    elif segment.frames is not None and segment.duration is not None:
        yield ("duration",), "'frames' gives the length already; take one of the two out"
    elif count == 0:
        yield which, "'duration' is shorter than one frame; make it longer"
    elif (total := sum(n or 0 for n in counts)) > MAX_FRAMES >= total - count:
        yield which, f"the film grows beyond {MAX_FRAMES} frames here; make it shorter"


def _opening(form: StoryboardForm, index: int) -> Iterator[tuple[Loc, str]]:
    segment = form.segments[index]
    said = [name for name in ("image", "key_frame") if getattr(segment, name) is not None]
    if len(said) > 1:
        yield ("key_frame",), "'image' is the key frame already; take one of the two out"
    for name in said:
        if index == 0 and form.image is not None:
            yield (name,), "the film's 'image' is the first frame already; take one of the two out"
        if index > 0 and segment.start == "continue":
            yield (name,), f"'{name}' is for a key frame; add `start: cut`, or take '{name}' out"


def _fade(segment: SegmentForm, counts: list[int | None]) -> Iterator[tuple[Loc, str]]:
    count = counts[-1]
    if segment.fade and len(counts) == 1:
        yield ("fade",), "'fade' needs a segment before this one to dissolve from; take it out"
    elif count and segment.fade > count:
        yield ("fade",), f"'fade' must be at most the {count} frames of this segment"


def _anchor(segment: SegmentForm, counts: list[int | None]) -> Iterator[tuple[Loc, str]]:
    """Yield what keeps the anchor from being there before the segment's frames are drawn."""
    anchor, here = segment.anchor, len(counts)
    if anchor == "previous" and here == 1:
        yield ("anchor",), "no segment stands before this one; take 'anchor' out"
    if not isinstance(anchor, FrameAnchor):
        return
    if anchor.segment > here:
        message = f"segment {anchor.segment} is not drawn yet when segment {here} begins"
        yield ("anchor", "segment"), f"{message}; name an earlier one"
        return
    count = counts[anchor.segment - 1]
    if anchor.segment == here:
        count = 1 if here == 1 or segment.start == "cut" else 0
    if count is not None and anchor.frame > count:
        message = f"segment {anchor.segment} has {count} frames drawn when segment {here} begins"
        yield ("anchor", "frame"), f"{message}; name one of those"
