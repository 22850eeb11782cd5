"""`--json` for programs: one event a line, the documented fields, and an end in every case."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FRAMES, STORY, Studio
from standin import KilledEngine, StandInEngine

from artv_cli import events

FIELDS = {
    "started": {
        "story", "frames", "segments", "cached", "to_render", "to_redraw", "pictures",
        "anchor_images",
    },
    "loading": {"model"},
    "drawing": {"prompt"},
    "segment": {"segment", "frames", "prompt"},
    "frame": {
        "frame", "segment", "reused", "seconds", "digest", "key", "seconds_per_frame",
        "seconds_left",
    },
    "encoding": {"output"},
    "pruned": {"files", "bytes"},
    "warning": {"message"},
    "finished": {
        "output", "masks", "frames", "rendered", "reused", "seconds", "seconds_per_frame",
        "frame_digests",
    },
    "error": {"kind", "message", "remedy"},
}  # fmt: skip


def kinds(told: list[Any]) -> list[str]:
    return [event["event"] for event in told]


def lines(result: Any) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_documentation_names_every_event_and_field() -> None:
    told = re.split(r"^`(\w+)`", (events.__doc__ or "").partition("The last line")[0], flags=re.M)
    about = dict(zip(told[1::2], told[2::2], strict=True))
    assert about.keys() == FIELDS.keys()
    for kind, fields in FIELDS.items():
        assert all(re.search(rf"\b{field}\b", about[kind]) for field in fields), kind


def test_a_render_is_told_from_start_to_end(studio: Studio) -> None:
    studio.write()
    told = studio.events("story", "story.yaml")
    assert kinds(told) == [
        "started", "loading", "segment", *["frame"] * 6, "segment", *["frame"] * 4, "encoding",
        "finished",
    ]  # fmt: skip
    for event in told:
        assert set(event) - {"event"} == FIELDS[event["event"]]
    assert told[0] == {
        "event": "started", "story": "story.yaml", "frames": FRAMES, "segments": 2, "cached": 0,
        "to_render": FRAMES, "pictures": 0, "anchor_images": 0, "to_redraw": 0,
    }  # fmt: skip
    segments = [event for event in told if event["event"] == "segment"]
    assert segments[1] == {"event": "segment", "segment": 2, "frames": 4, "prompt": "a cat jumps"}
    frames = [event for event in told if event["event"] == "frame"]
    assert [frame["frame"] for frame in frames] == list(range(1, FRAMES + 1))
    assert [frame["digest"] for frame in frames] == told[-1]["frame_digests"]
    assert frames[-1]["seconds_left"] == 0
    assert all(frame["seconds_per_frame"] > 0 for frame in frames)


def test_reused_frames_say_nothing_about_the_time_left(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    told = studio.events("story", "story.yaml")
    frames = [event for event in told if event["event"] == "frame"]
    assert {frame["reused"] for frame in frames} == {True}
    assert {frame["seconds_left"] for frame in frames} == {None}
    assert "loading" not in kinds(told)


def test_export_is_told_in_events_too(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    told = studio.events("export", "story.yaml", "-o", "film.gif")
    assert (told[0]["event"], told[-1]["event"]) == ("started", "finished")
    assert told[-1]["output"] == "film.gif"


def test_with_json_standard_error_is_left_to_errors(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml", "--json")
    assert (result.exit_code, result.stderr) == (0, "")


def test_quiet_json_is_one_object(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml", "--json", "--quiet")
    assert json.loads(result.stdout)["event"] == "finished"
    failed = studio.run("story", "missing.yaml", "--json", "--quiet")
    assert json.loads(failed.stdout)["event"] == "error"


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        (("missing.yaml",), "UsageError", 2),
        (("story.yaml", "--steps", "many"), "UsageError", 2),
        (("bad.yaml",), "StoryboardError", 2),
    ],
)
def test_a_request_that_cannot_be_ends_in_an_error(
    studio: Studio, arguments: tuple[str, ...], kind: str, code: int
) -> None:
    studio.write()
    studio.write("segments: []\n", "bad.yaml")
    result = studio.run("story", *arguments, "--json")
    (error,) = lines(result)
    assert (error["event"], error["kind"], result.exit_code) == ("error", kind, code)
    assert error["message"] in result.stderr
    assert error["remedy"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("story", "story.yaml", "--sampler", "magic"), "--sampler"),
        (("t2v", "a cat", "--frames", "0"), "--frames"),
        (("export", "story.yaml", "--stops", "3"), "--stops"),
        (("animate", "cat.png"), "prompt"),
        (("story",), "file"),
    ],
)
def test_a_command_that_cannot_be_parsed_ends_in_an_error(
    studio: Studio, arguments: tuple[str, ...], named: str
) -> None:
    result = studio.run(*arguments, "--json")
    (error,) = lines(result)
    assert (error["event"], error["kind"], result.exit_code) == ("error", "UsageError", 2)
    assert named in error["message"].lower() and named in result.stderr.lower()
    assert error["remedy"] == f"See what can be said: `artv {arguments[0]} --help`."
    for other in (arguments, (*arguments, "--", "--json")):
        assert studio.run(*other).stdout == ""
    assert '"event"' not in studio.run(arguments[0], "--help", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (("check", "bad.yaml"), "bad.yaml:1:1", 2),
        (("plan", "missing.yaml"), "missing.yaml", 2),
        (("cache", "verify", "--cache", "nowhere"), "nowhere", 2),
        (("cache", "prune"), "--max-size", 2),
    ],
)
def test_every_command_that_fails_ends_in_an_error(
    studio: Studio, arguments: tuple[str, ...], told: str, code: int
) -> None:
    studio.write("segmens: []", "bad.yaml")
    result = studio.run(*arguments, "--json")
    (error,) = lines(result)
    assert (error["event"], result.exit_code) == ("error", code)
    assert told in error["message"] and told in result.stderr and error["remedy"]


def test_a_command_of_a_group_that_cannot_be_parsed_names_its_help(studio: Studio) -> None:
    (error,) = lines(studio.run("cache", "verify", "--render", "many", "--json"))
    assert error["remedy"] == "See what can be said: `artv cache verify --help`."
    assert studio.run("init", "--json").stdout == "", "it knows no --json"


def test_a_failure_on_the_way_ends_in_an_error(studio: Studio) -> None:
    studio.write()
    studio.engine = StandInEngine(broken_after=4)
    result = studio.run("story", "story.yaml", "--json")
    told = lines(result)
    assert kinds(told)[-2:] == ["frame", "error"]
    assert (told[-1]["kind"], result.exit_code) == ("RenderError", 1)
    assert "frame 5 (segment 1)" in told[-1]["message"]


def test_an_interrupt_ends_in_an_error_with_the_command_that_goes_on(studio: Studio) -> None:
    studio.write()
    studio.engine = KilledEngine(3)
    result = studio.run("story", "story.yaml", "--json")
    assert result.exit_code == 130
    assert lines(result)[-1]["kind"] == "KeyboardInterrupt"
    assert lines(result)[-1]["remedy"].endswith("artv story story.yaml --json")


def test_a_warning_is_an_event(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.engine = StandInEngine(environment={"engine": "stand-in 2"})
    studio.write(STORY.replace("frames: 4", "frames: 5"))
    told = studio.events("story", "story.yaml")
    (warning,) = [event for event in told if event["event"] == "warning"]
    assert "10 frames were drawn elsewhere" in warning["message"]


def test_a_reader_that_goes_away_stops_no_render(studio: Studio) -> None:
    from test_cli import PROCESS

    studio.write()
    here = Path(__file__).parent
    program = PROCESS.format(paths=[str(here), str(here.parent)]).replace("time.sleep(60)", "pass")
    program = program.replace(
        "class SlowEngine(StandInEngine):\n    def next_frame",
        "class SlowEngine(StandInEngine):\n    def other",
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, "story", "story.yaml", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None and running.stderr is not None
    running.stdout.close()
    assert running.stderr.read() == b""
    assert running.wait(timeout=60) == 0
    running.stderr.close()
    assert Path("story.mp4").exists()
