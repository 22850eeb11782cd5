"""Commands about storyboards: `plan`, `check`, `init`, `schema`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import FRAMES, STORY, Studio
from standin import KilledEngine

from artv_cli.cache.store import FrameStore
from artv_cli.latents import Latents
from artv_cli.model.folder import find_model


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
    assert lines[1].split() == ["segment", "frames", "cached", "to", "render", "changed", "prompt"]
    assert lines[3].split("  ")[-2:] == ["frame 7: prompt", "a cat sleeps"]
    assert lines[4] == "first changed frame: 7 (segment 2)"
    assert lines[5].startswith("to render: about 0 s, ")


def test_check_tells_of_every_image_at_once(studio: Studio) -> None:
    (studio.folder / "dog.png").write_text("no picture")
    studio.write(f"image: cat.png\n{STORY}    anchor: dog.png\n")
    result = studio.run("check", "story.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"story.yaml:1:8: There is no file {studio.folder / 'cat.png'}" in result.stderr
    told = "story.yaml:10:13: dog.png is not a PNG, JPEG or WebP image.\n  Save it as one of these."
    assert told in result.stderr


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
    told = studio.run("plan", "story.yaml", "--explain", "6").stdout
    assert "made from the same" in told and told.endswith("; it is in the cache\n")


def test_each_segment_tells_its_first_change_and_the_parts_of_the_key_that_changed(
    studio: Studio,
) -> None:
    twice = STORY + "  - {prompt: a dog runs, frames: 2}\n"
    studio.write(twice)
    studio.json("story", "story.yaml")
    studio.write(twice.replace("a cat jumps", "a cat sleeps"))
    parts = [
        (part["first_change"], part["cause"], part["changed"])
        for part in studio.json("plan", "story.yaml")["segments"]
    ]
    assert parts == [(None, None, []), (7, 7, ["prompt"]), (11, 9, ["prompt"])]
    printed = studio.run("plan", "story.yaml").stdout
    assert "frame 11: prompt of 9" in printed


def test_a_segment_that_was_never_drawn_and_one_that_got_lost_are_told_so(studio: Studio) -> None:
    studio.write()
    assert "frame 1: not in the cache" in studio.run("plan", "story.yaml").stdout
    studio.json("story", "story.yaml")
    key = studio.remembered()["frames"][8]["key"]
    Path(f".artv/frames/{key[:2]}/{key}.artv").unlink()
    assert "frame 9: not in the cache" in studio.run("plan", "story.yaml").stdout
    told = studio.run("plan", "story.yaml", "--explain", "9").stdout
    assert told.endswith("last rendered; it is not in the cache\n")
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("frames: 4", "frames: 6"))
    assert "frame 11: new" in studio.run("plan", "story.yaml").stdout


def test_frames_that_only_moved_are_what_they_were(studio: Studio) -> None:
    cut = STORY + "  - {prompt: a dog runs, frames: 3, start: cut}\n"
    studio.write(cut)
    studio.json("story", "story.yaml")
    studio.write(cut.replace("frames: 4", "frames: 5"))
    assert studio.json("plan", "story.yaml", "--explain", "13")["explanation"]["cause"] is None


def test_time_and_disk_are_told_from_frames_that_were_drawn_here(studio: Studio) -> None:
    studio.write()
    assert "not timed yet" in studio.run("plan", "story.yaml").stdout
    studio.json("story", "story.yaml")
    sizes = [path.stat().st_size for path in Path(".artv/frames").rglob("*.artv")]
    studio.write(STORY.replace("a cat walks", "a dog walks"))
    need = studio.json("plan", "story.yaml")["estimate"]
    assert need["seconds"] > 0
    assert FRAMES * 0.3 * min(sizes) <= need["bytes"] <= FRAMES * max(sizes)


def test_frames_that_a_segment_gained_are_new_and_what_follows_them_follows_from_that(
    studio: Studio,
) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("frames: 6", "frames: 7"))
    new = {"part": "frame", "before": "(not there)", "after": "new"}
    for frame in (7, 8, 11):
        why = studio.json("plan", "story.yaml", "--explain", str(frame))["explanation"]
        assert (why["cause"], why["changes"]) == (7, [new]), frame
    told = studio.run("plan", "story.yaml").stdout
    assert "frame 7: new" in told and "frame 8: frame 7 is new" in told


def test_a_frame_is_compared_with_the_one_in_its_place_of_its_segment(studio: Studio) -> None:
    cut = STORY + "  - {prompt: a dog runs, frames: 3, start: cut}\n"
    studio.write(cut)
    studio.json("story", "story.yaml")
    studio.write(cut.replace("frames: 4", "frames: 2").replace("a dog", "a fox"))
    why = studio.json("plan", "story.yaml", "--explain", "9")["explanation"]
    prompt = {"part": "prompt", "before": "a dog runs", "after": "a fox runs"}
    assert (why["cause"], why["changes"]) == (9, [prompt])


def test_a_render_that_drew_nothing_explains_nothing_away(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("a cat jumps", "a dog jumps"))
    studio.engine = KilledEngine(0)
    assert studio.run("story", "story.yaml").exit_code == 130
    prompt = {"part": "prompt", "before": "a cat jumps", "after": "a dog jumps"}
    why = studio.json("plan", "story.yaml", "--explain", "7")["explanation"]
    assert (why["cause"], why["changes"]) == (7, [prompt])
    studio.engine = KilledEngine(2)
    assert studio.run("story", "story.yaml").exit_code == 130
    assert studio.json("plan", "story.yaml", "--explain", "10")["explanation"]["cause"] is None


def test_a_story_is_remembered_though_all_its_frames_are_there(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("frames: 4", "frames: 3"))
    studio.json("story", "story.yaml")
    assert len(studio.remembered()["frames"]) == 9


def test_explain_traces_a_change_that_came_down_the_chain(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("a cat walks", "a dog walks"))
    why = studio.json("plan", "story.yaml", "--explain", "10")["explanation"]
    assert why == {
        "frame": 10,
        "cause": 6,
        "changes": [{"part": "prompt", "before": "a cat walks", "after": "a dog walks"}],
        "outdated_by": None,
    }


def test_a_frame_made_from_one_that_came_out_otherwise_is_told_so_by_its_name(
    studio: Studio,
) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    store = FrameStore(Path(".artv"), warn=print)
    first = studio.remembered()["frames"][0]["key"]
    latents = Latents("float32", (4, 2, 4), bytes(128))
    store.put(first, latents, studio.engine.decode(latents), {})
    told = studio.json("plan", "story.yaml", "--explain", "8")
    assert (told["to_render"], told["first_change"]) == (FRAMES - 1, 2)
    assert [part["outdated_by"] for part in told["segments"]] == ["frame 1 (segment 1)"] * 2
    assert told["explanation"] == {
        "frame": 8, "cause": None, "changes": [],
        "outdated_by": "frame 1 (segment 1)",
    }  # fmt: skip
    printed = studio.run("plan", "story.yaml", "--explain", "8").stdout
    assert "not in the cache" not in printed
    assert "frame 2: frame 1 (segment 1) came out otherwise" in printed
    because = "frame 1 (segment 1), which it is made from, came out otherwise"
    assert printed.endswith(f"it is in the cache, but {because}\n")
    assert studio.run("plan", "story.yaml", "--explain", "1").stdout.endswith(
        "it is in the cache\n"
    )


def test_explain_finds_the_cause_before_a_later_segment_that_began_alike(studio: Studio) -> None:
    twice = STORY + "  - {prompt: a cat walks, frames: 6, start: cut}\n"
    studio.write(twice)
    studio.json("story", "story.yaml")
    studio.write(twice.replace("a cat walks", "a dog walks"))
    assert studio.json("plan", "story.yaml", "--explain", "10")["explanation"]["cause"] == 6


def test_explain_of_a_copied_storyboard_says_what_is_in_the_cache(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("a cat jumps", "a cat sleeps"), "copy.yaml")
    told = "this storyboard was not rendered into .artv before; it is"
    for number, where in ((1, "in the cache"), (FRAMES, "not in the cache")):
        printed = studio.run("plan", "copy.yaml", "--explain", str(number)).stdout
        assert printed.endswith(f"frame {number}: {told} {where}\n")


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


def test_check_tells_where_a_model_is_named_that_is_not_there(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write(f"key_frame:\n  model: painter\n{STORY}")
    result = studio.run("check", "story.yaml")
    assert result.exit_code == 3
    assert "story.yaml:2:10: there is no model 'painter'" in result.stderr
    by_flag = studio.run("check", "story.yaml", "--key-frame-model", "nobody")
    assert "error: there is no model 'nobody'" in by_flag.stderr
    studio.write(f"{STORY}    key_frame: {{model: painter}}\n    start: cut\n")
    assert "story.yaml:9:24: there is no model" in studio.run("check", "story.yaml").stderr
    monkeypatch.setattr("artv_cli.story.find_model", find_model)
    studio.write(f"model: nope\n{STORY}")
    result = studio.run("check", "story.yaml")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "story.yaml:1:8: there is no model 'nope'" in result.stderr
    by_flag = studio.run("check", "story.yaml", "--model", "nobody")
    assert "error: there is no model 'nobody'" in by_flag.stderr


def test_check_tells_where_a_rate_is_that_no_film_can_keep(studio: Studio) -> None:
    studio.write(STORY.replace("fps: 8", "fps: 29.9700001"))
    result = studio.run("check", "story.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "story.yaml:2:6: 'fps' must be a rate that films keep exactly" in result.stderr


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


@pytest.mark.parametrize("name", ["stories", "stories/"])
def test_init_writes_into_a_folder_by_the_usual_name(studio: Studio, name: str) -> None:
    (studio.folder / "stories").mkdir()
    assert studio.run("init", name).stdout == "stories/story.yaml\n"


def test_init_never_overwrites_unasked(studio: Studio) -> None:
    studio.write("mine", "moon.yaml")
    refused = studio.run("init", "moon")
    assert refused.exit_code == 2
    assert Path("moon.yaml").read_text() == "mine"
    assert studio.run("init", "moon", "--yes").exit_code == 0
    assert Path("moon.yaml").read_text() != "mine"


def test_an_anchor_image_that_is_missing_is_counted_by_itself(anchored: Studio) -> None:
    told = anchored.json("plan", "story.yaml")
    assert (told["to_render"], told["first_change"], told["anchor_images"]) == (0, None, 1)
    assert told["estimate"]["bytes"] > 0
    printed = anchored.run("plan", "story.yaml").stdout.splitlines()
    assert printed[0] == "story.yaml: 10 frames, 10 cached, 0 to render, 1 anchor image to encode"
    rendered = anchored.run("story", "story.yaml").stderr
    assert rendered.startswith("10 cached, 0 to render, 1 anchor image to encode\nloading ")
    assert anchored.json("plan", "story.yaml")["anchor_images"] == 0


def test_plan_says_that_it_cannot_be_strict(studio: Studio) -> None:
    studio.write("strict: true\n" + STORY)
    result = studio.run("plan", "story.yaml")
    assert result.exit_code == 0
    assert result.stderr.count("strict") == result.stderr.count("\n") == 1
