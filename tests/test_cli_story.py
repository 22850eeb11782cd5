"""`story`, `animate` and `t2v`: what they draw, what they reuse, what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FRAMES, STORY, Studio, stand_in_model, teach
from PIL import Image
from standin import KilledEngine, StandInEngine

from artv_cli.media.probe import probe
from artv_cli.recipe import read_recipe


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


def test_the_last_line_of_json_has_the_documented_fields(studio: Studio) -> None:
    studio.write()
    report = studio.json("story", "story.yaml")
    assert list(report) == [
        "event", "output", "masks", "frames", "rendered", "reused", "seconds",
        "seconds_per_frame", "frame_digests",
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


def test_a_film_made_again_draws_as_its_model_did_then_whatever_the_model_likes_now(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write(STORY.replace("    frames: 4", "    start: cut\n    frames: 4\n    steps: 5"))
    first = studio.json("story", "story.yaml", "-o", "one.gif")

    def changed(*which: Any, **how: Any) -> Any:
        model = stand_in_model(*which, **how)
        other = replace(model.preferences.sampling, steps=3, noise_level=1)
        likes = {"sampling": other, "key_frame": replace(other, steps=4)}
        return replace(model, preferences=model.preferences.model_copy(update=likes))

    monkeypatch.setattr("artv_cli.story.find_model", changed)
    assert studio.json("plan", "story.yaml")["to_render"] == FRAMES
    for film, again in (("one.gif", "two.gif"), ("two.gif", "three.gif")):
        report = studio.json("story", film, "-o", again)
        assert (report["rendered"], report["frame_digests"]) == (0, first["frame_digests"])
    one, two, three = (read_recipe(Path(f"{name}.gif")) for name in ("one", "two", "three"))
    assert two == three and one.settings == two.settings


def test_a_film_of_a_version_that_kept_no_key_frame_sampling_draws_them_as_the_model_likes(
    studio: Studio,
) -> None:
    studio.write()
    first = studio.json("story", "story.yaml", "-o", "film.gif")
    recipe = json.loads(Path("film.gif.json").read_text())
    del recipe["settings"]["key_frame"]
    Path("old.json").write_text(json.dumps(recipe))
    assert studio.json("story", "old.json")["frame_digests"] == first["frame_digests"]


def test_a_flag_overrules_a_recipe_for_every_frame(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", "film.gif")
    again = studio.json("story", "film.gif", "--steps", "2", "-o", "again.gif")
    assert again["rendered"] == FRAMES
    assert {call.request.sampling.steps for call in studio.engine.drawn[FRAMES:]} == {2}


@pytest.mark.parametrize("bad", [{"steps": 0}, {"colour": 1}, 3, "x"])
def test_a_recipe_with_settings_that_nobody_knows_is_refused(studio: Studio, bad: object) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", "film.gif")
    recipe = json.loads(Path("film.gif.json").read_text())
    recipe["settings"]["key_frame"] = bad
    Path("odd.json").write_text(json.dumps(recipe))
    result = studio.run("story", "odd.json")
    assert result.exit_code == 2 and "settings that artv does not know" in result.stderr


@pytest.mark.parametrize(
    "strange", [{"cache": "/elsewhere"}, {"max_cache_size": 0}, {"device": "cuda"}, {"pictured": 5}]
)
def test_a_strangers_film_chooses_neither_cache_nor_device(
    studio: Studio, strange: dict[str, object]
) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", "film.gif")
    recipe = json.loads(Path("film.gif.json").read_text())
    recipe["settings"] |= strange
    Path("odd.json").write_text(json.dumps(recipe))
    result = studio.run("story", "odd.json")
    assert result.exit_code == 2 and "settings that artv does not know" in result.stderr


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
    assert studio.json("story", "story.mp4.json")["output"] == "story-again.mp4"
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


def test_a_folder_of_frames_is_made_again_from_its_recipe_by_whatever_name(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(studio.folder / "cat.png")
    studio.write("image: cat.png\n" + STORY)
    first = studio.json("story", "story.yaml", "-o", "frames")
    for name in ("frames", "frames/recipe.json"):
        again = studio.json("story", name, "-o", "again.gif")
        assert (again["rendered"], again["frame_digests"]) == (0, first["frame_digests"])
    monkeypatch.chdir("frames")
    for name in (".", "recipe.json", "../frames/recipe.json"):
        assert studio.json("plan", name)["to_render"] == 0
    assert studio.json("story", ".")["output"] == "frames.mp4"


def test_a_film_finds_its_model_from_where_it_is(studio: Studio) -> None:
    (studio.folder / "sub").mkdir()
    (studio.folder / "films").mkdir()
    studio.write("model: ./model\n" + STORY, "sub/story.yaml")
    studio.json("story", "sub/story.yaml", "-o", "films/a.gif")
    studio.json("story", "sub/story.yaml", "-o", "b.gif", "--model", "./model")
    assert read_recipe(Path("films/a.gif")).model == "../sub/model"
    assert "model: ../sub/model\n" in read_recipe(Path("films/a.gif")).storyboard
    assert read_recipe(Path("b.gif")).model == "./model"


def test_a_film_is_made_again_with_the_revision_it_was_made_with(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object, object]] = []

    def find(
        name: str, revision: object = None, variant: object = None, folder: Path | None = None
    ) -> Any:
        asked.append((name, revision, variant))
        return stand_in_model(name, revision, variant, folder)

    monkeypatch.setattr("artv_cli.story.find_model", find)
    studio.write("model: owner/film\nrevision: abc\nvariant: fp16\n" + STORY)
    studio.json("story", "story.yaml", "-o", "a.gif")
    studio.write("model: ./model\nrevision: abc\n" + STORY, "folder.yaml")
    studio.json("story", "folder.yaml", "-o", "b.gif")  # as artv made it when it overheard that
    asked.clear()
    monkeypatch.setenv("ARTV_REVISION", "def")
    studio.json("story", "a.gif")
    studio.json("story", "a.gif", "--model", "storybook")
    studio.json("story", "b.gif")
    assert asked == [
        ("owner/film", "abc", "fp16"), ("storybook", None, None), ("./model", None, None)
    ]  # fmt: skip


def test_animate_takes_a_link_to_a_picture_in_another_folder(studio: Studio) -> None:
    (studio.folder / "pictures").mkdir()
    (studio.folder / "work").mkdir()
    picture = studio.folder / "pictures" / "cat.png"
    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(picture)
    (studio.folder / "work" / "link.png").symlink_to(picture)
    assert studio.json("animate", "work/link.png", "a cat", "--frames", "1")["output"] == "link.mp4"
    studio.write("image: link.png\n" + STORY, "work/story.yaml")
    refused = studio.run("story", "work/story.yaml")
    assert refused.exit_code == 2 and "outside the storyboard's folder" in refused.stderr


def test_animate_obeys_the_current_folder_and_not_the_pictures(studio: Studio) -> None:
    (studio.folder / "pictures").mkdir()
    picture = studio.folder / "pictures" / "cat.png"
    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(picture)
    (studio.folder / "link.png").symlink_to(picture)
    Path("pictures/artv.toml").write_text("size = [64, 16]\n")
    Path("artv.toml").write_text("size = [16, 16]\n")
    for image in ("pictures/cat.png", "link.png"):
        studio.json("animate", image, "a cat", "--frames", "1", "-o", f"{Path(image).stem}.gif")
        assert probe(Path(f"{Path(image).stem}.gif")).size == (16, 16)


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


def test_prompts_that_only_begin_alike_make_two_films(studio: Studio) -> None:
    begin = "a penguin walks slowly through the snow in the mountains while "
    films = [
        studio.json("t2v", begin + end, "--frames", "1")["output"]
        for end in ("it rains", "it ends")
    ]
    assert films[0] != films[1]
    for film in films:
        assert film.startswith("a-penguin-walks-slowly") and len(film) <= len("x" * 60 + ".mp4")


def test_a_blank_prompt_is_one_sentence(studio: Studio) -> None:
    result = studio.run("t2v", "  ")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'prompt' is blank" in result.stderr


def test_unknown_words_are_warned_of_once_with_the_nearest_that_the_model_knows(
    studio: Studio,
) -> None:
    teach(Path("storybook"), "a cap walks")
    studio.write()
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 0
    assert result.stderr.count("the storybook model does not know 'cat' (near it: cap)") == 1
    assert "'walks'" not in result.stderr and "'jumps'" in result.stderr


def test_words_that_the_model_does_not_read_are_warned_of(studio: Studio) -> None:
    teach(Path("storybook"), "a cat walks jumps on and then")
    studio.write(STORY.replace("a cat walks", "a cat walks" + " on" * 15 + " and, then on"))
    result = studio.run("story", "story.yaml")
    assert "reads 18 words of a prompt and leaves out 'and then on'" in result.stderr
    assert result.stderr.count("leaves out") == 1


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
