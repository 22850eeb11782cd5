"""Storyboards: what they say, everything that is wrong with them, and that nothing gets through."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sample_storyboards import EVERYTHING

from artv_cli.errors import StoryboardError, UsageError
from artv_cli.settings import GuidanceSettings, Settings
from artv_cli.storyboard import (
    FrameAnchor,
    Segment,
    Storyboard,
    dump_storyboard,
    json_schema,
    load_storyboard,
    parse_storyboard,
)

SAMPLES = Path(__file__).parent.parent / "storyboards"
NAME, FOLDER = "cat.yaml", Path("stories")
WALK = "segments:\n- prompt: a cat walks\n  frames: 4\n"


def parse(text: str | bytes) -> Storyboard:
    return parse_storyboard(text, name=NAME, folder=FOLDER)


def problems(text: str | bytes) -> list[str]:
    """Every problem as "line:column: message"."""
    with pytest.raises(StoryboardError) as error:
        parse(text)
    assert error.value.problems == tuple(sorted(error.value.problems))
    return [f"{p.line}:{p.column}: {p.message}" for p in error.value.problems]


# ---------------------------------------------------------------- what is read


def test_every_key_is_read() -> None:
    board = parse(EVERYTHING)
    assert board == Storyboard(
        title="The cat and the rocket",
        image="cat.png",
        settings=Settings(
            model="storybook",
            size=(128, 96),
            fps=Fraction(30000, 1001),
            seed=7,
            steps=50,
            guidance=GuidanceSettings(
                text=6.5, reference=0.25, on="composed", rescale=0.7, interval=(200, 900)
            ),
            noise_level=200,
            strict=True,
        ),
        segments=(
            Segment(prompt="a cat walks right across a meadow", frames=16),
            Segment(prompt="the cat jumps", frames=16, anchor="previous"),
            Segment(
                prompt="a rocket flies up at night",
                frames=24,
                start="cut",
                image="rocket.png",
                settings=Settings(seed=11),
                fade=4,
                narration="And then, one night…",
                anchor=FrameAnchor(segment=1, frame=3),
            ),
        ),
        name=NAME,
        folder=FOLDER,
    )


@pytest.mark.parametrize("word", ["no", "1:30", "2001-01-01", "0o17", "null", "~", "1e3", ".inf"])
def test_what_yaml_would_turn_into_something_else_stays_text(word: str) -> None:
    assert parse(f"segments: [{{prompt: {word}, frames: 1}}]").segments[0].prompt == word


@pytest.mark.parametrize(
    ("duration", "frames"),
    [
        ("2s", 16), ("1.5", 12), ("1500ms", 12), ("0:02", 16), ("1:00.5", 484), ("0:01:00", 480),
        ("2min", 960), ("2 s", 16), ("0.19s", 2), ("0.0625", 1),
    ],
)  # fmt: skip
def test_a_duration_becomes_frames_at_eight_a_second(duration: str, frames: int) -> None:
    board = parse(f"segments: [{{prompt: a, duration: '{duration}'}}]")
    assert board.segments[0].frames == frames


def test_a_duration_counts_at_the_films_own_rate() -> None:
    assert parse("fps: 24\nsegments: [{prompt: a, duration: 2s}]").segments[0].frames == 48


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_any_newline_and_a_byte_order_mark_are_read(newline: str, mark: str) -> None:
    text = mark + EVERYTHING.replace("\n", newline)
    assert parse(text) == parse(text.encode()) == parse(EVERYTHING)


def test_outer_white_space_is_no_part_of_a_prompt() -> None:
    assert parse("segments:\n- frames: 1\n  prompt: |\n    a cat\n").segments[0].prompt == "a cat"


def test_a_storyboard_never_changes() -> None:
    board = parse(WALK)
    with pytest.raises(ValidationError):
        board.title = "another"  # type: ignore[misc]


# ---------------------------------------------------------------- what is refused

PROBLEMS = """\
titel: x
frames: 3
cache: /tmp
fps: 1:30
seed: 1_000
size: [1, 2]
image: a.png
guidance: {txt: 3, text: abc}
segments:
  - promt: x
    frames: 0
    fade: 3
    fps: 3
    image: b.png
  - prompt: &a hello
    frames: 4
    frames: 5
    image: *a
    fade: 10
    anchor: previus
  - prompt: [x]
    duration: 0
    start: Cut
    narration:
    anchor: {segment: 9, frame: 1}
  - prompt: y
    frames: 3
    anchor: {segment: 2, frame: 9}
  - hello
  - prompt: z
    anchor: {segmant: 1}
    seed: !!int 3
"""
FOUND = """\
1:1: 'titel' is not a known key; did you mean 'title'?
2:1: 'frames' belongs to a segment; move it under `segments:`
3:1: 'cache' is not for a storyboard; use --cache or ARTV_CACHE_DIR
4:6: 'fps' must be frames a second, such as 8, 29.97 or "30000/1001", and at most 1000; not '1:30'
5:7: 'seed' must be a whole number from 0 to 9223372036854775807, not '1_000'
6:7: 'size' must be width and height in pixels, such as 128x96, each from 8 to 8192; not [1, 2]
8:12: 'txt' is not a known key; did you mean 'text'?
8:26: 'text' must be a number from 0 to 50, not 'abc'
10:5: 'prompt' is missing; add it
10:5: 'promt' is not a known key; did you mean 'prompt'?
11:13: 'frames' must be a whole number from 1 to 100000, not '0'
12:11: 'fade' needs a segment before this one to dissolve from; take it out
13:5: 'fps' holds for the whole film; move it out of the segment, to the top
14:12: the film's 'image' is the first frame already; take one of the two out
15:13: an anchor (&) is not allowed; put text with & in quotes
17:5: 'frames' stands here a second time; the first is on line 16; keep one
18:12: an alias (*) is not allowed; write the value out
19:11: 'fade' must be at most the 4 frames of this segment
20:13: 'anchor' must be previous, first, key, {segment: 1, frame: 3} or the path of a PNG, JPEG \
or WebP image; not 'previus'; did you mean 'previous'?
21:13: 'prompt' must be text, not [x]; put it in quotes
23:12: 'start' must be continue or cut, not 'Cut'; did you mean 'cut'?
24:15: nothing stands here; write a value, or take the line out
25:23: segment 9 is not drawn yet when segment 3 begins; name an earlier one
28:33: segment 2 has 4 frames drawn when segment 4 begins; name one of those
29:5: item 5 of 'segments' must hold keys and values, not 'hello'
30:5: this segment has no length; add `frames: 16` or `duration: 2s`
31:13: 'frame' is missing; add it
31:13: 'segment' is missing; add it
31:14: 'segmant' is not a known key; did you mean 'segment'?
32:11: a tag (!) is not allowed; put text with ! in quotes
"""


def test_every_problem_is_told_at_once_with_its_place() -> None:
    assert problems(PROBLEMS) == FOUND.splitlines()


def test_the_message_begins_with_name_line_and_column() -> None:
    with pytest.raises(StoryboardError) as error:
        parse("titel: x\n" + WALK)
    assert str(error.value) == f"{NAME}:1:1: 'titel' is not a known key; did you mean 'title'?"


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ("{prompt: a, frames: 1, duration: 1s}", "1:45: 'frames' gives the length"),
        ("{prompt: a, duration: 10ms}", "1:34: 'duration' is shorter than one frame"),
        ("{prompt: a, duration: 1:75}", "1:34: 'duration' must be a length of time, such as 2s, "),
        ("{prompt: a, frames: 1}, {prompt: a, frames: 1, image: b.png}", "1:66: 'image' is for a"),
        ("{prompt: a, frames: 1, anchor: previous}", "1:43: no segment stands before this one"),
        ("{prompt: a, frames: 3, anchor: {segment: 1, frame: 2}}", "1:63: segment 1 has 1 frames"),
        (
            "{prompt: a, frames: 3}, {prompt: a, frames: 3, anchor: {segment: 2, frame: 1}}",
            "1:87: segment 2 has 0 frames drawn when segment 2 begins; name one of those",
        ),
        ("{prompt: a, frames: 60000}, {prompt: a, frames: 60000}", "1:60: the film grows beyond"),
        ("{prompt: a, frames: 1e3}", "1:32: 'frames' must be a whole number from 1 to "),
        ("{prompt: '', frames: 1}", "1:21: 'prompt' is blank; write some text"),
        (f"{{prompt: a, frames: 1, narration: {'a' * 65_536}}}", "1:46: 'narration' is longer"),
        ('{prompt: "\\0", frames: 1}', "1:21: 'prompt' holds a character that cannot be shown"),
        ('{prompt: "\\uD800", frames: 1}', "1:21: 'prompt' holds a character that cannot be shown"),
        ("{prompt: a, frames: 1, anchor: [1]}", "1:43: 'anchor' must be previous, first, key, "),
        ("{prompt: a, frames: 1, anchor: {segment: 1, frame: x}}", "1:63: 'frame' must be a whole"),
        ("{prompt: a, frames: 1, guidance: {rescale: 2}}", "1:55: 'rescale' must be a number from"),
        (
            "{prompt: a, frames: 1, guidance: {text: 3, interval: [900, 200]}}",
            "1:65: 'interval' must be the lowest and the highest timestep, such as 200-900, from"
            " 0 to 999; not [900, 200]",
        ),
        (
            '{prompt: a, frames: 1, guidance: {interval: ["\\uD800", "2\n\n00"]}}',
            "1:56: 'interval' must be the lowest and the highest timestep, such as 200-900, from"
            r" 0 to 999; not [\ud800, 2\n00]",
        ),
        ("{prompt: a, frames: 1, guidance: 3}", "1:45: 'guidance' must hold keys and values"),
    ],
)  # fmt: skip
def test_values_that_do_not_agree_are_told(segments: str, told: str) -> None:
    (problem,) = problems(f"segments: [{segments}]")
    assert problem.startswith(told)


def test_a_key_that_is_called_like_an_inner_tag_is_told_like_any_other() -> None:
    assert problems("a frame: 1\n" + WALK)[0].startswith("1:1: 'a frame' is not a known key")
    (problem,) = problems(WALK + "  anchor: {segment: 1, frame: 1, a frame: 1}")
    assert problem.startswith("4:34: 'a frame' is not a known key; did you mean 'frame'?")


def test_what_rests_on_a_bad_value_is_not_told_as_well() -> None:
    assert len(problems("segments: [{prompt: a, frames: 2}, {prompt: b, frames: x, fade: 9}]")) == 1
    assert len(problems("fps: x\nsegments: [{prompt: a, duration: 1ms}]")) == 1
    board = "segments: [{prompt: a, frames: 2}, {prompt: b, frames: 3, start: x, image: a.png}]"
    assert len(problems(board)) == 1
    board = (
        "segments: [{prompt: a, frames: x}, {prompt: b, frames: 3, anchor: {segment: 1, frame: 9}}]"
    )
    assert len(problems(board)) == 1


def test_an_anchor_frame_may_stand_in_any_frame_drawn_before() -> None:
    board = (
        "segments: [{prompt: a, frames: 2, anchor: {segment: 1, frame: 1}},"
        "{prompt: b, frames: 2, anchor: {segment: 1, frame: 2}},"
        "{prompt: b, frames: 2, start: cut, anchor: {segment: 3, frame: 1}, image: a.png},"
        "{prompt: b, frames: 2, anchor: look/cat.JPG}]"
    )
    assert parse(board).segments[3].anchor == "look/cat.JPG"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1:1: this storyboard is empty; begin with `segments:`"),
        ("# nothing\n", "1:1: this storyboard is empty"),
        ("---\n", "2:1: nothing stands here"),
        ("- x", "1:1: this must hold keys and values, not [x]"),
        ("cat", "1:1: this must hold keys and values, not 'cat'"),
        ("segments: 3", "1:11: 'segments' must be a list, not '3'"),
        ("segments: {a: b}", "1:11: 'segments' must be a list, not a mapping"),
        ("segments: []", "1:11: 'segments' is empty; a story needs at least one"),
        ("title: a", "1:1: 'segments' is missing; add it"),
        (
            "zzz: 1\n" + WALK,
            "1:1: 'zzz' is not a known key; known here: title, image, segments, seed",
        ),
        ("title: a: b", "1:9: a ': ' stands where none can; "),
        (WALK + " seed: 1", "4:2: indented unlike the lines it belongs to; line it up with them"),
        ("title:\n\tx", "2:1: a tab indents this; indent with spaces"),
        ("title: @cat", "1:8: no value can begin with this character; put the text in quotes"),
        (
            WALK + "   seed: 1",
            "4:8: a ': ' stands where none can; line this key up with the others",
        ),
        (WALK + " - x", "4:2: indented unlike the lines it belongs to"),
        ("- a\nb: c", "2:1: indented unlike the lines it belongs to"),
        ("cat: - a", "1:6: a '- ' stands where none can; give it a line of its own"),
        ("title: **cat**", "1:9: text that begins with * or & or ! must stand in quotes"),
        ("'a'\nb: c", "2:1: indented unlike the lines before"),
        ("title: [a, b", "1:13: a list or mapping in brackets is not closed"),
        ("title: [", "1:9: a value or a closing bracket is missing here"),
        ('title: "cat\n' + WALK, "1:8: a quotation mark opened here is never closed; close it"),
        ('title: "cat\n---\n', "1:8: a quotation mark opened here is never closed; close it"),
        ("title: a\nseed 3\n", "2:1: a key without ': ' stands here; add it"),
        (r'title: "\q"', "1:10: this is no escape of double quotes"),
        (r'title: "\U00110000"', "1:11: an escape or a version here is out of range"),
        (
            "%YAML 1." + "9" * 5000 + "\n---\na: b",
            "1:9: an escape or a version here is out of range",
        ),
        ("%YAML 2.0\n---\n" + WALK, "1:1: this is not YAML (found incompatible YAML document"),
        (WALK + "---\n" + WALK, "4:1: a second document begins here; keep one to a file"),
        ("? [a]\n: b\n" + WALK, "1:3: a key must be a word, not a list or a mapping"),
        ("<<: {title: b}\n" + WALK, "1:1: a merge key (<<) is not allowed; write the values out"),
        ("title: a\x00b", "1:9: a character that cannot be shown; take it out"),
        (b"title: a\r\rb\xff", "3:2: this is not UTF-8"),
        (b"title: a\n\xff", "2:1: this is not UTF-8; save the file as UTF-8"),
        (WALK.encode("utf-16"), "1:1: this is not UTF-8"),
        ("title: \ud800", "1:8: this is not UTF-8"),
        ("[" * 20_000, "1:21: nested more than 20 deep"),
        ("a: " + "{b: " * 30, "nested more than 20 deep"),
        ("[" + "a," * 10_000, "more than 10000 values"),
        ("\n" * 50_001, "50000:1: more than 50000 lines"),
        ("#" * 300_001, "1:1: this file is larger than 300 kB"),
    ],
)
def test_what_is_no_storyboard_is_told_with_its_place(text: str | bytes, told: str) -> None:
    assert told in problems(text)[0]


def test_nested_merges_and_alias_bombs_are_refused_without_being_unfolded() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40)
    )
    assert any("an alias (*) is not allowed" in problem for problem in problems(bomb))


def test_no_more_problems_are_told_than_a_person_reads() -> None:
    for text in ("\n".join(f"k{i}: 1" for i in range(4000)), "[" + "*a, " * 4000):
        told = problems(text)
        assert len(told) == 101
        assert told[-1].endswith("and more from here on")


# ---------------------------------------------------------------- files


def test_a_file_is_loaded_with_its_folder_and_name(tmp_path: Path) -> None:
    path = tmp_path / "cat.yaml"
    path.write_text(WALK)
    board = load_storyboard(path)
    assert (board.folder, board.name) == (tmp_path, str(path))
    path.write_text("titel: x\n" + WALK)
    with pytest.raises(StoryboardError, match=r"cat\.yaml:1:1: "):
        load_storyboard(path)


def test_what_is_no_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cat.yaml").write_text(WALK)
    with pytest.raises(UsageError, match="There is no file") as error:
        load_storyboard(tmp_path / "cat.yml")
    assert "cat.yaml" in error.value.remedy
    with pytest.raises(UsageError, match="is not a file that can be read"):
        load_storyboard(tmp_path)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_each_sample_is_sound_and_names_its_schema(path: Path) -> None:
    assert load_storyboard(path).segments
    modeline = path.read_text().splitlines()[0]
    assert modeline == "# yaml-language-server: $schema=storyboard.schema.json"


def test_the_first_sample_tells_of_a_penguin_and_a_balloon() -> None:
    board = load_storyboard(SAMPLES / "penguin-and-balloon.yaml")
    assert [segment.frames for segment in board.segments] == [12, 20, 16]
    assert [segment.start for segment in board.segments] == ["continue", "continue", "cut"]
    assert all(segment.narration for segment in board.segments)
    assert board.settings.size == (128, 128)


# ---------------------------------------------------------------- the schema


def test_the_schema_beside_the_samples_is_in_step() -> None:
    assert json.loads((SAMPLES / "storyboard.schema.json").read_text()) == json_schema()


def test_the_schema_keeps_to_draft_seven_and_describes_every_key() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    assert all(f'"{word}"' not in text for word in ("$defs", "prefixItems", "null", "const"))
    for part in (schema, *schema["definitions"].values()):
        assert part["additionalProperties"] is False
        assert all(entry.get("description") for entry in part["properties"].values())
    assert schema["required"] == ["segments"]
    assert "cache" not in schema["properties"]
    assert set(schema["definitions"]["SegmentForm"]["properties"]) >= {"prompt", "frames", "fade"}


# ---------------------------------------------------------------- written and read again

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and text.isprintable()
)
seeds = st.none() | st.integers(0, 2**63 - 1)
scales = st.none() | st.floats(0, 50)
ends = st.integers(0, 999)
intervals = st.none() | st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair)))
board_settings = st.builds(
    Settings,
    seed=seeds,
    model=st.none() | texts,
    size=st.none() | st.tuples(st.integers(8, 8192), st.integers(8, 8192)),
    fps=st.none() | st.fractions(Fraction(1, 1000), 1000, max_denominator=1000),
    strict=st.none() | st.booleans(),
    guidance=st.none() | st.builds(GuidanceSettings, text=scales, interval=intervals),
)
segments = st.builds(
    Segment,
    prompt=texts,
    frames=st.integers(4, 50),
    settings=st.builds(Settings, seed=seeds, sampler=st.sampled_from([None, "euler"])),
    start=st.sampled_from(["continue", "cut"]),
    narration=st.none() | texts,
    anchor=st.sampled_from([None, "first", "key", "a.png", FrameAnchor(segment=1, frame=1)]),
)
boards = st.builds(
    Storyboard,
    segments=st.lists(segments, min_size=1, max_size=4).map(tuple),
    title=st.none() | texts,
    image=st.none() | texts,
    settings=board_settings,
    name=st.just(NAME),
    folder=st.just(FOLDER),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(boards)
@example(Storyboard(segments=(Segment(prompt="\tno\n\n yes\x85".strip() + ": #", frames=1),)))
def test_what_is_written_is_read_back_equal(board: Storyboard) -> None:
    again = parse_storyboard(dump_storyboard(board), name=board.name, folder=board.folder)
    assert again == board
    assert dump_storyboard(again) == dump_storyboard(board)


def test_the_written_form_is_readable() -> None:
    assert dump_storyboard(parse(EVERYTHING)).startswith(
        "title: The cat and the rocket\nimage: cat.png\nseed: 7\nsteps: 50\n"
    )
    assert "size: [128, 96]\nfps: 30000/1001\n" in dump_storyboard(parse(EVERYTHING))
    assert dump_storyboard(parse(WALK)) == WALK
