"""The command line: what goes to standard output, what to standard error, which exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import STORY, Studio
from PIL import Image
from standin import StandInEngine

from artv_cli import errors, story
from artv_cli.cli import EXIT_CODES, exit_code
from artv_cli.errors import ArtvError, Problem, StoryboardError, UsageError
from artv_cli.media.probe import probe
from artv_cli.recipe import read_recipe

FRAMES = 10  # of STORY


class KilledEngine(StandInEngine):
    """Is interrupted while it draws the frame after `frames` finished ones."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def next_frame(self, *given: Any) -> Any:
        if len(self.drawn) == self.frames:
            raise KeyboardInterrupt
        return super().next_frame(*given)


EVERY_ERROR = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ArtvError)
]


def example(kind: type[ArtvError]) -> ArtvError:
    if kind is StoryboardError:
        return StoryboardError("story.yaml", [Problem(3, 5, "what is wrong")])
    return kind("what is wrong", "what to do")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*request: object) -> None:
        raise error

    monkeypatch.setattr(story, "find_model", fail)


# ---------------------------------------------------------------- rendering


def test_a_story_prints_its_path_alone_and_talks_on_standard_error(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml")
    assert (result.exit_code, result.stdout) == (0, "story.mp4\n")
    assert result.stderr.startswith("0 cached, 10 to render\nloading storybook\n")
    assert "10 frames: 10 rendered, 0 reused" in result.stderr
    assert probe(Path("story.mp4")).frames == FRAMES
    assert "And then" in Path("story.srt").read_text()


def test_quiet_is_quiet(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml", "--quiet")
    assert (result.stdout, result.stderr) == ("story.mp4\n", "")


def test_json_is_one_object_with_the_documented_fields(studio: Studio) -> None:
    studio.write()
    report = studio.json("story", "story.yaml")
    assert list(report) == [
        "output", "frames", "rendered", "reused", "seconds", "seconds_per_frame", "frame_digests"
    ]  # fmt: skip
    assert (report["frames"], report["rendered"], report["reused"]) == (FRAMES, FRAMES, 0)
    assert report["seconds"] > 0 < report["seconds_per_frame"]
    assert len(set(report["frame_digests"])) == FRAMES


def test_the_same_command_again_draws_nothing_and_loads_no_model(studio: Studio) -> None:
    studio.write()
    first = studio.json("story", "story.yaml")
    again = studio.json("story", "story.yaml")
    assert (again["rendered"], again["reused"], again["seconds_per_frame"]) == (0, FRAMES, None)
    assert again["frame_digests"] == first["frame_digests"]
    assert studio.loaded == 1


def test_an_interrupted_story_says_how_to_go_on_and_ends_in_the_same_bits(studio: Studio) -> None:
    studio.write()
    studio.engine = KilledEngine(7)
    stopped = studio.run("story", "story.yaml", "-o", "my film.mp4")
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert "  artv story story.yaml -o 'my film.mp4'\n" in stopped.stderr
    assert not Path("my film.mp4").exists()
    studio.engine = StandInEngine()
    resumed = studio.json("story", "story.yaml", "-o", "my film.mp4")
    assert (resumed["rendered"], resumed["reused"]) == (FRAMES - 7, 7)
    whole = studio.json("story", "story.yaml", "--cache", "elsewhere")
    assert whole["rendered"] == FRAMES
    assert whole["frame_digests"] == resumed["frame_digests"]


def test_an_edit_of_the_last_segment_draws_exactly_its_frames(studio: Studio) -> None:
    studio.write()
    before = studio.json("story", "story.yaml")["frame_digests"]
    studio.write(STORY.replace("a cat jumps", "a cat sleeps"))
    plan = studio.json("plan", "story.yaml")
    assert (plan["cached"], plan["to_render"], plan["first_change"]) == (6, 4, 7)
    report = studio.json("story", "story.yaml")
    assert (report["rendered"], report["reused"]) == (4, 6)
    assert report["frame_digests"][:6] == before[:6]


def test_eight_more_frames_draw_exactly_eight(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("frames: 4", "frames: 12"))
    assert studio.json("story", "story.yaml")["rendered"] == 8


def test_a_film_setting_reuses_every_frame(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    report = studio.json("story", "story.yaml", "--fps", "24", "-o", "fast.gif")
    assert report["rendered"] == 0
    assert read_recipe(Path("fast.gif")).settings["fps"] == "24"


def test_another_seed_shares_nothing(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    assert studio.json("story", "story.yaml", "--seed", "1")["rendered"] == FRAMES


def test_a_storyboard_may_come_from_standard_input(studio: Studio) -> None:
    result = studio.run("story", "-", stdin=STORY)
    assert (result.exit_code, result.stdout) == (0, "story.mp4\n")
    assert Path(".artv/frames").is_dir()


def test_an_interrupted_story_from_standard_input_asks_for_it_again(studio: Studio) -> None:
    studio.engine = KilledEngine(2)
    result = studio.run("story", "-", stdin=STORY)
    assert result.exit_code == 130
    assert "  artv story - < STORYBOARD\n" in result.stderr


def test_a_film_renders_again_from_its_recipe_whatever_is_set_around_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    first = studio.json("story", "story.yaml", "--steps", "3", "--guidance-anchor", "0")
    Path("story.yaml").unlink()
    monkeypatch.setenv("ARTV_NOISE_LEVEL", "10")
    monkeypatch.setenv("ARTV_GUIDANCE_TEXT", "1")
    again = studio.json("story", "story.mp4", "-o", "again.mp4")
    assert again["rendered"] == 0
    assert again["frame_digests"] == first["frame_digests"]


def test_a_contact_sheet_carries_its_recipe_too(studio: Studio) -> None:
    studio.write()
    first = studio.json("story", "story.yaml", "-o", "sheet.png")
    again = studio.json("story", "sheet.png")
    assert (again["output"], again["rendered"]) == ("sheet.mp4", 0)
    assert again["frame_digests"] == first["frame_digests"]


def test_a_film_is_not_replaced_by_its_second_making_unasked(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    assert studio.json("story", "story.mp4")["output"] == "story-again.mp4"
    assert studio.json("story", "story.mp4", "-o", "story.mp4")["output"] == "story.mp4"


def test_a_film_of_other_weights_warns_before_it_is_made_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    recipe = json.loads(Path("story.mp4.json").read_text()) | {"fingerprint": "0" * 64}
    Path("other.json").write_text(json.dumps(recipe))
    result = studio.run("story", "other.json")
    assert "other.json was made by other weights" in result.stderr


def test_a_recipe_finds_its_images_from_where_the_film_is(studio: Studio) -> None:
    (studio.folder / "sub").mkdir()
    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(studio.folder / "sub" / "cat.png")
    studio.write("image: cat.png\n" + STORY, "sub/story.yaml")
    first = studio.json("story", "sub/story.yaml")
    again = studio.json("story", "story.mp4", "--cache", "sub/.artv")
    assert (again["rendered"], again["frame_digests"]) == (0, first["frame_digests"])


def test_animate_begins_with_the_picture(studio: Studio) -> None:
    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(studio.folder / "cat.png")
    report = studio.json("animate", "cat.png", "the cat jumps", "--frames", "3")
    assert (report["output"], report["frames"]) == ("cat.mp4", 3)
    assert [call.kind for call in studio.engine.calls if call.kind != "decode"] == [
        "encode", "next_frame", "next_frame"
    ]  # fmt: skip
    assert Path(".artv").is_dir()


def test_t2v_names_the_film_after_the_prompt(studio: Studio) -> None:
    report = studio.json("t2v", "A rocket: flies/up!", "--frames", "2")
    assert (report["output"], report["frames"]) == ("a-rocket-flies-up.mp4", 2)


def test_a_blank_prompt_is_one_sentence(studio: Studio) -> None:
    result = studio.run("t2v", "  ")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'prompt' is blank" in result.stderr


def test_unknown_words_are_warned_of_once_with_the_nearest_known_ones(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = SimpleNamespace(unknown_words=lambda prompt: [("zebra", ["horse", "cow"])])
    monkeypatch.setitem(sys.modules, "artv_cli.storybook.captions", words)
    studio.write()
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 0
    assert result.stderr.count("'zebra' (near it: horse, cow)") == 1


def test_strict_draws_again_what_another_environment_drew(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.engine = StandInEngine(environment={"engine": "stand-in 2"})
    assert studio.json("story", "story.yaml")["rendered"] == 0
    assert studio.json("story", "story.yaml", "--strict")["rendered"] == FRAMES


def test_a_switch_that_is_not_given_overrules_nothing(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    Path("artv.toml").write_text("strict = true\n")
    studio.engine = StandInEngine(environment={"engine": "stand-in 2"})
    assert studio.json("story", "story.yaml")["rendered"] == FRAMES


def test_the_project_file_and_the_environment_fill_what_is_not_said(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    Path("artv.toml").write_text('size = [64, 16]\ncache = "frames"\n')
    assert studio.json("check", "story.yaml")["size"] == [64, 16]
    monkeypatch.setenv("ARTV_SIZE", "16x16")
    assert studio.json("check", "story.yaml")["size"] == [16, 16]
    assert studio.json("check", "story.yaml", "--size", "8x8")["size"] == [8, 8]
    studio.json("story", "story.yaml")
    assert Path("frames").is_dir()


# ---------------------------------------------------------------- outputs


def test_what_artv_did_not_make_is_overwritten_only_with_yes(studio: Studio) -> None:
    studio.write()
    Path("story.mp4").write_bytes(b"holidays")
    refused = studio.run("story", "story.yaml")
    assert (refused.exit_code, refused.stdout, studio.loaded) == (2, "", 0)
    assert "--yes" in refused.stderr
    assert Path("story.mp4").read_bytes() == b"holidays"
    assert studio.run("story", "story.yaml", "--yes").exit_code == 0
    assert studio.run("story", "story.yaml").exit_code == 0, "its own film needs no --yes"


def test_a_folder_of_pictures_that_artv_did_not_make_is_kept(studio: Studio) -> None:
    studio.write()
    Path("frames").mkdir()
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0
    Path("frames/recipe.json").unlink()
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0, "frames carry it, too"
    Path("frames/holidays.jpg").write_bytes(b"")
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 2


def test_no_metadata_leaves_no_recipe(studio: Studio) -> None:
    studio.write()
    studio.run("story", "story.yaml")
    studio.run("story", "story.yaml", "--no-metadata")
    assert not Path("story.mp4.json").exists(), "nor that of the film that was replaced"
    with pytest.raises(UsageError):
        read_recipe(Path("story.mp4"))


@pytest.mark.parametrize("output", ["film.avi", "film.gif"])
def test_an_output_that_cannot_be_is_refused_before_anything_is_drawn(
    studio: Studio, output: str
) -> None:
    studio.write()
    result = studio.run("story", "story.yaml", "-o", output, "--fps", "500")
    assert (result.exit_code, studio.loaded) == (2, 0)


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_drawn(
    studio: Studio,
) -> None:
    studio.write()
    result = studio.run("story", "story.yaml", "-o", "story.yaml/film.mp4")
    assert (result.exit_code, studio.loaded) == (5, 0)


def test_an_output_whose_name_is_too_long_is_refused_in_a_sentence(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml", "-o", "x" * 300 + ".mp4")
    assert (result.exit_code, studio.loaded) == (5, 0)
    assert "too long" in result.stderr and "unexpected" not in result.stderr
    missing = studio.run("story", "x" * 300)
    assert missing.exit_code == 2 and "unexpected" not in missing.stderr


def test_export_writes_from_the_cache_without_a_model(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    report = studio.json("export", "story.yaml", "-o", "film.gif")
    assert (report["output"], report["frames"], report["rendered"]) == ("film.gif", FRAMES, 0)
    assert probe(Path("film.gif")).frames == FRAMES
    assert studio.loaded == 1


def test_export_names_what_is_missing(studio: Studio) -> None:
    studio.write()
    studio.engine = KilledEngine(7)
    studio.run("story", "story.yaml")
    result = studio.run("export", "story.yaml", "-o", "film.gif")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the first is frame 8." in result.stderr
    assert "Run `artv story`" in result.stderr
    assert not Path("film.gif").exists()


# ---------------------------------------------------------------- planning


def test_plan_counts_by_segment_and_tells_the_first_change_from_one(studio: Studio) -> None:
    studio.write()
    fresh = studio.json("plan", "story.yaml")
    assert (fresh["frames"], fresh["to_render"], fresh["first_change"]) == (FRAMES, FRAMES, 1)
    assert fresh["estimate"]["seconds"] is None
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("frames: 4", "frames: 5"))
    plan = studio.json("plan", "story.yaml")
    assert plan["first_change"] == 11
    assert [segment["to_render"] for segment in plan["segments"]] == [0, 1]
    assert plan["estimate"]["seconds"] > 0
    assert plan["estimate"]["bytes"] > 0


def test_plan_says_in_words_what_it_would_take(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("a cat jumps", "a cat sleeps"))
    result = studio.run("plan", "story.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "story.yaml: 10 frames, 6 cached, 4 to render"
    assert lines[1].split() == ["segment", "frames", "cached", "to", "render", "prompt"]
    assert lines[4] == "first changed frame: 7 (segment 2)"
    assert lines[5].startswith("to render: about 0 s, ")


def test_plan_of_a_finished_story_has_nothing_to_say_about_changes(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    plan = studio.json("plan", "story.yaml")
    assert (plan["to_render"], plan["first_change"]) == (0, None)
    assert "first changed" not in studio.run("plan", "story.yaml").stdout


def test_explain_names_the_part_of_the_key_that_changed_and_the_frame_that_caused_it(
    studio: Studio,
) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("a cat jumps", "a cat sleeps"))
    printed = studio.run("plan", "story.yaml", "--explain", "7").stdout
    assert "frame 7 changed:\n  prompt: a cat jumps -> a cat sleeps\n" in printed
    assert "made from the same" in studio.run("plan", "story.yaml", "--explain", "6").stdout


def test_explain_traces_a_change_that_came_down_the_chain(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("a cat walks", "a dog walks"))
    why = studio.json("plan", "story.yaml", "--explain", "10")["explanation"]
    assert why == {
        "frame": 10,
        "cause": 6,
        "changes": [{"part": "prompt", "before": "a cat walks", "after": "a dog walks"}],
    }


def test_explain_finds_the_cause_before_a_later_segment_that_began_alike(studio: Studio) -> None:
    twice = STORY + "  - {prompt: a cat walks, frames: 6, start: cut}\n"
    studio.write(twice)
    studio.json("story", "story.yaml")
    studio.write(twice.replace("a cat walks", "a dog walks"))
    assert studio.json("plan", "story.yaml", "--explain", "10")["explanation"]["cause"] == 6


def test_explain_before_the_first_render_says_so(studio: Studio) -> None:
    studio.write()
    assert "not rendered into" in studio.run("plan", "story.yaml", "--explain", "1").stdout
    assert studio.json("plan", "story.yaml", "--explain", "1")["explanation"] is None


@pytest.mark.parametrize("frame", ["0", "11"])
def test_explain_refuses_a_frame_that_is_not_there(studio: Studio, frame: str) -> None:
    studio.write()
    result = studio.run("plan", "story.yaml", "--explain", frame)
    assert result.exit_code == 2
    assert "from 1 to 10" in result.stderr


def test_check_tells_every_problem_with_its_place(studio: Studio) -> None:
    studio.write("segments:\n  - prompt: a cat\n    frames: 0\n    sneed: 3\n")
    result = studio.run("check", "story.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "story.yaml:3:" in result.stderr
    assert "story.yaml:4:" in result.stderr
    assert "seed" in result.stderr


def test_check_draws_nothing_and_says_what_there_is(studio: Studio) -> None:
    studio.write()
    result = studio.run("check", "story.yaml")
    assert result.stdout == "story.yaml: 2 segments, 10 frames of 32x16, 1.25 s\n"
    assert not Path(".artv").exists()


def test_schema_is_a_json_schema(studio: Studio) -> None:
    schema = json.loads(studio.run("schema").stdout)
    assert "segments" in schema["properties"]


def test_init_writes_a_storyboard_that_renders_as_it_is(studio: Studio) -> None:
    assert studio.run("init").stdout == "story.yaml\n"
    assert studio.json("story", "story.yaml")["frames"] == 48


def test_init_never_overwrites_unasked(studio: Studio) -> None:
    studio.write("mine", "moon.yaml")
    refused = studio.run("init", "moon")
    assert refused.exit_code == 2
    assert Path("moon.yaml").read_text() == "mine"
    assert studio.run("init", "moon", "--yes").exit_code == 0
    assert Path("moon.yaml").read_text() != "mine"


# ---------------------------------------------------------------- housekeeping


def test_cache_ls_names_stories_and_environments(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    listed = studio.json("cache", "ls")
    assert listed["frames"] == FRAMES
    assert listed["stories"] == [{"name": "story.yaml", "frames": FRAMES, "cached": FRAMES}]
    assert listed["environments"] == {"engine stand-in 1": FRAMES}
    assert "story.yaml" in studio.run("cache", "ls").stdout


def test_cache_ls_of_no_cache_is_empty_and_makes_none(studio: Studio) -> None:
    assert studio.json("cache", "ls")["frames"] == 0
    assert not Path(".artv").exists()


def test_cache_verify_fails_once_when_a_frame_is_damaged(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    assert studio.run("cache", "verify").exit_code == 0
    victim = next(Path(".artv/frames").rglob("*.artv"))
    victim.write_bytes(victim.read_bytes()[:-1])
    result = studio.run("cache", "verify")
    assert result.exit_code == 1
    assert "9 frames are good, 1 were not" in result.stdout
    assert studio.run("cache", "verify").exit_code == 0
    assert studio.json("story", "story.yaml")["rendered"] == 1


@pytest.mark.parametrize(
    ("size", "kept"), [("0", 0), ("1kB", 1), ("1 KiB", 1), ("1GB", FRAMES), ("1.5MB", FRAMES)]
)
def test_cache_prune_keeps_what_fits(studio: Studio, size: str, kept: int) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    assert studio.json("cache", "prune", "--max-size", size)["removed"] == FRAMES - kept
    assert studio.json("cache", "ls")["frames"] == kept


def test_cache_prune_wants_a_size(studio: Studio) -> None:
    result = studio.run("cache", "prune", "--max-size", "much")
    assert result.exit_code == 2
    assert "500MB" in result.stderr


def test_models_are_listed_and_shown(studio: Studio) -> None:
    assert [model["name"] for model in studio.json("models", "ls")] == ["storybook"]
    assert studio.json("models", "show", "storybook")["steps"] == 8
    assert "storybook" in studio.run("models", "ls").stdout
    assert "sampler" in studio.run("models", "show", "storybook").stdout


def test_doctor_tells_facts_and_where_each_setting_came_from(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as on a machine where it is broken
    monkeypatch.setenv("ARTV_STEPS", "12")
    facts = studio.json("doctor")
    assert facts["settings"] == {"steps": "12 (environment)"}
    assert facts["device"].startswith("torch cannot be imported")
    assert {"artv", "python", "platform", "torch", "ffmpeg", "cache", "free disk"} < set(facts)
    assert "setting steps" in studio.run("doctor").stdout


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ArtvError", 1), ("EncodeError", 1), ("RenderError", 1), ("UsageError", 2),
        ("StoryboardError", 2), ("ImageError", 2), ("ModelError", 3), ("StoryLocked", 4),
        ("StorageError", 5),
    ],
)  # fmt: skip
def test_each_error_has_the_documented_exit_code(name: str, code: int) -> None:
    assert exit_code(example(getattr(errors, name))) == code


def test_the_table_of_exit_codes_covers_every_error() -> None:
    assert {exit_code(example(kind)) for kind in EVERY_ERROR} == {1, 2, 3, 4, 5}
    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(ZeroDivisionError()) == 1
    assert set(EXIT_CODES.values()) == {0, 1, 2, 3, 4, 5, 130}


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_is_a_sentence_without_a_traceback(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, kind: type[ArtvError]
) -> None:
    studio.write()
    failing(monkeypatch, example(kind))
    result = studio.run("story", "story.yaml")
    assert (result.exit_code, result.stdout) == (exit_code(example(kind)), "")
    assert result.stderr.startswith("error: ")
    assert "what is wrong" in result.stderr
    assert kind is StoryboardError or result.stderr.endswith("\n  what to do\n")
    assert "Traceback" not in result.stderr


def test_debug_alone_shows_the_traceback(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.write()
    failing(monkeypatch, errors.ModelError("what is wrong"))
    result = studio.run("story", "story.yaml", "--debug")
    assert result.exit_code == 3
    assert "Traceback (most recent call last)" in result.stderr


def test_the_unexpected_is_one_sentence_that_names_debug(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    failing(monkeypatch, ZeroDivisionError("by [zero]\nand more"))
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 1
    assert "ZeroDivisionError: by [zero])" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_broken_engine_keeps_what_was_drawn(studio: Studio) -> None:
    studio.write()
    studio.engine = StandInEngine(broken_after=4)
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 1
    assert "frame 5 (segment 1)" in result.stderr
    assert studio.json("plan", "story.yaml")["cached"] == 4


def test_a_story_that_is_being_rendered_is_left_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    studio.write()
    Path(".artv").mkdir()
    with FileLock(".artv/lock"):
        result = studio.run("story", "story.yaml")
    assert result.exit_code == 4
    assert "rendering into" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("story",), ("storey", "x.yaml"), ("story", "x.yaml", "--stops", "3"),
        ("story", "missing.yaml"), ("story", "missing.mp4"), ("story", "."),
        ("story", "story.yaml", "--steps", "many"), ("story", "story.yaml", "--size", "33x16"),
        ("story", "story.yaml", "--guidance-on", "sunday"), ("cache", "prune"),
        ("story", "story.yaml", "--noise-level", "1000"), ("story", "story.yaml", "--fps", "0"),
        ("animate", "missing.png", "a cat"), ("t2v", "a cat", "--frames", "0"),
        ("story", "story.yaml", "--sampler", "magic"), ("story", "story.yaml", "--seed", "-1"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_with_two_and_no_traceback(
    studio: Studio, arguments: tuple[str, ...]
) -> None:
    studio.write()
    result = studio.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_guidance_may_be_said_in_pairs_and_in_flags_at_once(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml", "--guidance", "text=5,anchor=1", "--guidance-anchor", "2")
    request = studio.engine.drawn[1].request
    assert request is not None
    told = request.sampling.guidance
    assert (told.text, told.anchor) == (5, 2), "the flag of one scale wins over the pairs"


def test_a_bad_flag_is_named(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml", "--noise-level", "1000")
    assert "--noise-level must be" in result.stderr


def test_a_bad_variable_is_named(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.write()
    monkeypatch.setenv("ARTV_STEPS", "many")
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 2
    assert "ARTV_STEPS" in result.stderr


def test_plain_output_holds_no_escape_sequences(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml")
    assert "\x1b" not in result.stderr + result.stdout
    assert "\r" not in result.stderr


# ---------------------------------------------------------------- as a process

PROCESS = """
import sys, types
sys.path[:0] = {paths!r}
from conftest import stand_in_model
import artv_cli.story
from standin import StandInEngine

class SlowEngine(StandInEngine):
    def next_frame(self, *given):
        import time
        print("drawing", file=sys.stderr, flush=True)
        time.sleep(60)

artv_cli.story.find_model = stand_in_model
artv_cli.story.embedded_models = list
engine = types.SimpleNamespace(load_engine=lambda *model, **how: SlowEngine())
sys.modules["artv_cli.artv_engine"] = engine
from artv_cli.cli import main
main()
"""


def process(*arguments: str, **how: Any) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    program = PROCESS.format(paths=[str(here), str(here.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def test_sigterm_stops_politely_with_the_frames_that_are_there(studio: Studio) -> None:
    studio.write()
    with process("story", "story.yaml") as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line == "drawing\n":
                break
        os.kill(running.pid, signal.SIGTERM)
        rest = running.stderr.read()
        assert running.wait(timeout=20) == 130
    assert "artv story story.yaml" in rest
    assert "Traceback" not in rest
    assert studio.json("plan", "story.yaml")["cached"] == 1


def test_a_reader_that_goes_away_is_no_error(studio: Studio) -> None:
    true = shutil.which("true")
    assert true is not None
    with process("schema") as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(timeout=20) == 0
