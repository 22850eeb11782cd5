"""Key frames that a text-to-image model draws: planned, kept, keyed, explained, made again."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Studio
from PIL import Image
from standin import ENVIRONMENT, KilledEngine, StandInEngine

from artv_cli.cache.entry import entry_at
from artv_cli.engine import PictureRequest
from artv_cli.errors import RenderError
from artv_cli.keys import frame_seed
from artv_cli.latents import NO_LATENTS, Pixels
from artv_cli.model.text_to_image import TextToImageFolder
from artv_cli.recipe import read_recipe
from artv_cli.render import Frame, render

STORY = """\
segments:
  - {prompt: a cat walks, frames: 3}
  - {prompt: a dog runs, frames: 2, start: cut}
  - {prompt: a rocket flies, frames: 2, start: cut}
"""
FRAMES = 7  # of STORY
PAINTED = f"key_frame: {{model: one}}\n{STORY}"
EACH_ITS_OWN = STORY.replace("3}", "3, key_frame: {model: one}}").replace(
    "2, start: cut}\n  -", "2, start: cut, key_frame: {model: two}}\n  -"
)


def stand_in_folder(
    name: str, revision: object = None, variant: str | None = None, folder: Path | None = None
) -> TextToImageFolder:
    """Return the folder of a text-to-image model whose weights are its name."""
    path = (folder or Path()) / name
    told = hashlib.sha256(f"{path.name} {revision} {variant}".encode()).hexdigest()
    return TextToImageFolder(
        name, path, told, networks={}, side=64, is_relative=name.startswith(".")
    )


class StandInPictures:
    """Fulfils `PictureEngine`: a picture's bits depend on all that is asked."""

    environment: Mapping[str, str] = ENVIRONMENT

    def __init__(self, folder: TextToImageFolder, log: list[str], salt: str = "") -> None:
        self.fingerprint = folder.fingerprint
        self._name, self._log, self._salt = folder.path.name, log, salt

    def picture(self, request: PictureRequest) -> Pixels:
        self._log.append(f"{self._name} draws {request.prompt}")
        width, height = request.size
        stream = hashlib.shake_256(f"{self._salt} {request}".encode()).digest(width * height * 3)
        return np.frombuffer(stream, np.uint8).reshape(height, width, 3)

    def close(self) -> None:
        self._log.append(f"{self._name} closes")


class Gallery:
    """A studio in which text-to-image models draw; `log` is what was loaded, drawn and closed."""

    def __init__(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        self.studio = studio
        self.log: list[str] = []
        self.salt = ""
        engine = SimpleNamespace(load_engine=self.load_engine)
        monkeypatch.setitem(sys.modules, "artv_cli.artv_engine", engine)
        pictures = SimpleNamespace(load_pipeline=self.load_pipeline)
        monkeypatch.setitem(sys.modules, "artv_cli.pipeline_engine", pictures)
        monkeypatch.setattr("artv_cli.key_frames.find_text_to_image", stand_in_folder)

    def load_engine(self, *model: Any, **how: Any) -> Any:
        self.log.append("film loads")
        return self.studio.load_engine(*model, **how)

    def load_pipeline(self, folder: TextToImageFolder, **how: Any) -> StandInPictures:
        self.log.append(f"{folder.path.name} loads")
        return StandInPictures(folder, self.log, self.salt)

    def film(self, text: str = "", *arguments: str) -> Any:
        """Write a story, unless there is no text, render it, and return the report."""
        if text:
            self.studio.write(text)
        self.log.clear()
        return self.studio.json("story", "story.yaml", *arguments)


@pytest.fixture
def gallery(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gallery]:
    yield Gallery(studio, monkeypatch)


# ---------------------------------------------------------------- who draws, and when


def test_all_pictures_are_drawn_with_the_model_loaded_once_before_the_films_own(
    gallery: Gallery,
) -> None:
    assert gallery.film(PAINTED)["rendered"] == FRAMES
    assert gallery.log == [
        "one loads",
        *(f"one draws {prompt}" for prompt in ("a cat walks", "a dog runs", "a rocket flies")),
        "one closes",
        "film loads",
    ]
    kinds = [call.kind for call in gallery.studio.engine.calls if call.kind != "decode"]
    assert kinds == ["encode", *["next_frame"] * 2] + ["encode", "next_frame"] * 2


def test_no_two_models_are_in_memory_at_a_time(gallery: Gallery) -> None:
    gallery.film(EACH_ITS_OWN)
    assert gallery.log == [
        "one loads", "one draws a cat walks", "one closes",
        "two loads", "two draws a dog runs", "two closes",
        "film loads",
    ]  # fmt: skip
    assert [call.kind for call in gallery.studio.engine.calls].count("key_frame") == 1


def test_pictures_of_one_model_are_drawn_together_wherever_they_stand(gallery: Gallery) -> None:
    gallery.film(PAINTED.replace("runs, frames: 2", "runs, frames: 2, key_frame: {model: two}"))
    assert [line for line in gallery.log if "draws" in line] == [
        "one draws a cat walks", "one draws a rocket flies", "two draws a dog runs",
    ]  # fmt: skip
    assert sum("loads" in line for line in gallery.log) == 3


def test_the_second_run_draws_nothing_and_loads_nothing(gallery: Gallery) -> None:
    first = gallery.film(PAINTED)
    again = gallery.film()
    assert (again["rendered"], again["reused"], gallery.log) == (0, FRAMES, [])
    assert again["frame_digests"] == first["frame_digests"]
    assert gallery.studio.json("export", "story.yaml")["frame_digests"] == first["frame_digests"]


def test_a_killed_render_goes_on_to_the_same_bits_without_the_model_of_its_pictures(
    gallery: Gallery,
) -> None:
    whole = gallery.film(PAINTED, "--cache", "whole")
    gallery.studio.engine = KilledEngine(2)
    gallery.log.clear()
    assert gallery.studio.run("story", "story.yaml").exit_code == 130
    assert "one draws a rocket flies" in gallery.log
    gallery.studio.engine = StandInEngine()
    assert gallery.film()["frame_digests"] == whole["frame_digests"]
    assert gallery.log == ["film loads"]


def test_the_model_of_the_pictures_is_let_go_of_when_one_fails(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(pictures: StandInPictures, request: PictureRequest) -> Pixels:
        raise RenderError("no memory is left", "Use a smaller model.")

    monkeypatch.setattr(StandInPictures, "picture", fail)
    gallery.studio.write(PAINTED)
    assert gallery.studio.run("story", "story.yaml").exit_code != 0
    assert gallery.log == ["one loads", "one closes"]


def test_the_model_of_the_pictures_is_let_go_of_when_the_frames_are_given_up(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*arguments: Any) -> Iterator[Frame]:
        frames: Any = render(*arguments)
        yield next(frames)
        assert gallery.log[-1].startswith("one draws"), "it is still open"
        frames.close()
        raise KeyboardInterrupt

    gallery.film(PAINTED)
    next(
        path
        for path in sorted(Path(".artv/frames").rglob("*.artv"))
        if entry_at(path).latents == NO_LATENTS
    ).unlink()
    gallery.log.clear()
    monkeypatch.setattr("artv_cli.story.render", give_up)
    assert gallery.studio.run("story", "story.yaml").exit_code == 130
    assert [line.split()[1] for line in gallery.log] == ["loads", "draws", "closes"]


def test_a_picture_that_is_given_is_not_drawn(gallery: Gallery) -> None:
    Image.new("RGB", (32, 16), "red").save("cat.png")
    gallery.film("image: cat.png\n" + PAINTED)
    assert [line for line in gallery.log if "draws" in line] == [
        "one draws a dog runs", "one draws a rocket flies",
    ]  # fmt: skip
    gallery.studio.write("image: cat.png\nsegments: [{prompt: a, frames: 2}]\n")
    told = gallery.studio.run("story", "story.yaml", "--key-frame-model", "one").stderr
    assert "--key-frame-model draws nothing" in told


# ---------------------------------------------------------------- what is kept


def test_the_picture_is_kept_by_itself_and_the_frame_remembers_it(gallery: Gallery) -> None:
    gallery.film(PAINTED)
    entries = [entry_at(path) for path in Path(".artv/frames").rglob("*.artv")]
    pictures = {entry.key: entry for entry in entries if entry.latents == NO_LATENTS}
    assert len(pictures) == 3 and len(entries) == FRAMES + 3
    first = next(e for e in entries if e.key == gallery.studio.remembered()["frames"][0]["key"])
    (picture,) = first.parents
    assert first.parents[picture] == pictures[picture].digest
    assert pictures[picture].environment == ENVIRONMENT
    assert pictures[picture].pixels().shape == (16, 32, 3)
    assert gallery.studio.json("cache", "verify")["good"] == FRAMES + 3


def test_another_model_draws_everything_again_and_in_a_later_cut_only_from_there(
    gallery: Gallery,
) -> None:
    gallery.film(PAINTED)
    assert gallery.film("", "--key-frame-model", "two")["rendered"] == FRAMES
    assert gallery.film("", "--key-frame-model", "one")["rendered"] == 0
    last = PAINTED.replace("flies, frames: 2", "flies, frames: 2, key_frame: {model: six}")
    assert gallery.film(last)["rendered"] == 2
    assert gallery.log == ["six loads", "six draws a rocket flies", "six closes", "film loads"]


@pytest.mark.parametrize("asked", ["steps: 4", "guidance: 0", "revision: v2", "variant: fp16"])
def test_what_is_asked_of_the_model_is_in_the_key(gallery: Gallery, asked: str) -> None:
    gallery.film(PAINTED)
    assert gallery.film(PAINTED.replace("one}", f"one, {asked}}}"))["rendered"] == FRAMES


def test_the_seed_decides_the_picture_and_what_the_films_model_is_asked_does_not(
    gallery: Gallery,
) -> None:
    gallery.film(PAINTED)
    gallery.film("", "--steps", "3", "--guidance", "1")
    assert gallery.log == ["film loads"]
    gallery.film("", "--seed", "3")
    assert "one draws a cat walks" in gallery.log


def test_a_model_whose_weights_are_the_same_is_the_same_whatever_it_is_called(
    gallery: Gallery,
) -> None:
    gallery.film(PAINTED)
    assert gallery.film("", "--key-frame-model", "elsewhere/one")["rendered"] == 0


def test_a_damaged_picture_is_drawn_again_and_its_frames_stay(gallery: Gallery) -> None:
    whole = gallery.film(PAINTED)
    for path in sorted(Path(".artv/frames").rglob("*.artv")):
        if entry_at(path).latents == NO_LATENTS:
            path.write_bytes(path.read_bytes()[:-1])
            break
    again = gallery.film()
    assert (again["rendered"], again["frame_digests"]) == (0, whole["frame_digests"])
    assert [line.split()[1] for line in gallery.log] == ["loads", "draws", "closes"]


def test_a_picture_that_comes_back_with_other_bits_is_a_film_drawn_again(gallery: Gallery) -> None:
    gallery.film(PAINTED)
    for path in Path(".artv/frames").rglob("*.artv"):
        if entry_at(path).latents == NO_LATENTS:
            path.unlink()
    gallery.salt = "another card"
    assert gallery.film()["rendered"] == FRAMES


def test_pictures_leave_the_cache_after_the_frames_that_are_made_from_them(
    gallery: Gallery,
) -> None:
    gallery.film(PAINTED)
    entries = {path: entry_at(path) for path in Path(".artv/frames").rglob("*.artv")}
    pictures = {path for path, entry in entries.items() if entry.latents == NO_LATENTS}
    kept = sum(path.stat().st_size for path in pictures)
    gallery.studio.json("cache", "prune", "--max-size", str(kept))
    assert set(Path(".artv/frames").rglob("*.artv")) == pictures
    gallery.film()
    assert gallery.log == ["film loads"]


def test_frames_that_follow_a_painted_one_can_be_drawn_again_and_compared(
    gallery: Gallery,
) -> None:
    gallery.film(PAINTED)
    told = gallery.studio.json("cache", "verify", "--render", "9")["rendered"]
    assert len(told["same"]) == 4 and told["different"] == []  # all but the painted ones


def test_strict_is_known_without_loading_a_model(gallery: Gallery) -> None:
    gallery.film(PAINTED)
    assert gallery.film("", "--strict")["rendered"] == 0
    assert gallery.log == []


# ---------------------------------------------------------------- what is said of it


def test_plan_tells_pictures_apart_from_frames_and_says_what_changed(gallery: Gallery) -> None:
    gallery.studio.write(PAINTED)
    told = gallery.studio.json("plan", "story.yaml")
    assert (told["to_render"], told["pictures"], told["anchor_images"]) == (FRAMES, 3, 0)
    printed = gallery.studio.run("plan", "story.yaml").stdout
    assert f"0 cached, {FRAMES} to render, 3 pictures to draw\n" in printed
    assert "besides the pictures" in printed
    gallery.film()
    assert gallery.studio.json("plan", "story.yaml")["pictures"] == 0
    why = gallery.studio.run(
        "plan", "story.yaml", "--explain", "3", "--key-frame-model", "two"
    ).stdout
    before, after = (stand_in_folder(name).fingerprint[:12] for name in ("one", "two"))
    assert f"because frame 1 did:\n  key frame model: {before} -> {after}\n" in why


def test_plan_explains_that_a_key_frame_is_now_drawn_by_another_model(gallery: Gallery) -> None:
    gallery.film(STORY)
    told = gallery.studio.json("plan", "story.yaml", "--key-frame-model", "one", "--explain", "1")
    changes = {change["part"]: change for change in told["explanation"]["changes"]}
    assert (changes["role"]["before"], changes["role"]["after"]) == ("key", "painted")
    assert "prompt" not in changes and "seed" not in changes


def test_a_program_hears_of_each_picture(gallery: Gallery) -> None:
    gallery.studio.write(PAINTED)
    events = gallery.studio.events("story", "story.yaml")
    assert events[0]["pictures"] == 3
    assert [event["model"] for event in events if event["event"] == "loading"] == [
        "one", "storybook",
    ]  # fmt: skip


def test_t2v_draws_its_key_frame_with_the_model_that_is_named(gallery: Gallery) -> None:
    gallery.studio.json("t2v", "a cat walks", "--frames", "2", "--key-frame-model", "one")
    assert gallery.log == ["one loads", "one draws a cat walks", "one closes", "film loads"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PAINTED.replace("{model: one}", "one"), "must hold keys and values"),
        (PAINTED.replace("model", "modle"), "did you mean 'model'?"),
        (PAINTED.replace("{model: one}", "{steps: 3}"), "'model' is missing; add it"),
        (STORY.replace("2, start: cut}", "2, key_frame: {model: a}}", 1), "add `start: cut`"),
        (
            STORY.replace("cut}", "cut, image: a.png, key_frame: {model: a}}", 1),
            "'image' is the key frame already",
        ),
        ("image: a.png\n" + EACH_ITS_OWN, "the film's 'image' is the first frame already"),
    ],
)
def test_a_key_frame_that_cannot_be_is_told_with_its_place(
    gallery: Gallery, text: str, told: str
) -> None:
    gallery.studio.write(text)
    result = gallery.studio.run("check", "story.yaml")
    assert result.exit_code == 2
    assert told in result.stderr and "story.yaml:" in result.stderr


# ---------------------------------------------------------------- made again


def test_a_film_is_made_again_from_its_recipe_alone(gallery: Gallery) -> None:
    first = gallery.film(PAINTED, "-o", "film.mp4")
    Path("story.yaml").unlink()
    Path("artv.toml").write_text('key_frame = {model = "two"}\n')
    again = gallery.studio.json("story", "film.mp4", "-o", "again.mp4")
    assert (again["rendered"], again["frame_digests"]) == (0, first["frame_digests"])
    one, two = (read_recipe(Path(f"{name}.mp4")) for name in ("film", "again"))
    assert one.settings == two.settings
    assert one.settings["pictured"] == [stand_in_folder("one").fingerprint]


def test_a_flag_is_part_of_the_recipe_and_stands_only_where_it_drew(gallery: Gallery) -> None:
    board = STORY.replace("2, start: cut}", "2}", 1)
    first = gallery.film(board, "-o", "film.gif", "--key-frame-model", "one")
    assert read_recipe(Path("film.gif")).storyboard.count("model: one") == 2
    again = gallery.studio.json("story", "film.gif", "-o", "again.gif")
    assert (again["rendered"], again["frame_digests"]) == (0, first["frame_digests"])


def test_a_relative_model_is_found_again_from_where_the_film_lies(gallery: Gallery) -> None:
    Path("films").mkdir()
    Path("boards").mkdir()
    text = PAINTED.replace("{model: one}", "{model: ./one}")
    gallery.studio.write(text, "boards/story.yaml")
    first = gallery.studio.json("story", "boards/story.yaml", "-o", "films/film.gif")
    assert "model: ../boards/one" in read_recipe(Path("films/film.gif")).storyboard
    again = gallery.studio.json("plan", "films/film.gif", "--cache", "boards/.artv")
    assert (first["rendered"], again["to_render"]) == (FRAMES, 0)


def test_other_weights_than_those_of_the_first_film_are_warned_of(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.film(PAINTED, "-o", "film.gif")
    assert "other weights" not in gallery.studio.run("plan", "film.gif").stderr
    monkeypatch.setattr(
        "artv_cli.key_frames.find_text_to_image", lambda *which: stand_in_folder("retrained")
    )
    assert "other weights" in gallery.studio.run("plan", "film.gif").stderr


def test_the_noise_of_a_picture_is_that_of_the_first_frame_of_its_chain(gallery: Gallery) -> None:
    gallery.film(PAINTED, "--seed", "5")
    seeds = {frame["ingredients"].get("seed") for frame in gallery.studio.remembered()["frames"]}
    assert frame_seed(5, 0) in seeds
