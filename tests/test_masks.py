"""`--save-masks`: what was copied in each frame, whether it is drawn now or was long ago."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FRAMES, STORY, Studio
from PIL import Image
from sample_plans import plan
from standin import SAMPLING, StandInEngine

from artv_cli.cache.store import FrameStore
from artv_cli.errors import StorageError
from artv_cli.masks import SHEET_FRAMES, SHEET_TILE, MaskAlbum

STORY_COMMAND = ("story", "story.yaml", "-o", "film.gif")
COMMAND = (*STORY_COMMAND, "--save-masks", "masks")


def contents(folder: str = "masks") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def cached() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(".artv/frames").rglob("*.artv")}


def rows() -> list[list[str]]:
    with open("masks/masks.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def warnings(events: list[Any]) -> list[str]:
    return [event["message"] for event in events if event["event"] == "warning"]


# ---------------------------------------------------------------- what is in the folder


def test_each_frame_but_the_key_frame_has_a_picture_of_its_mean_mask(studio: Studio) -> None:
    studio.write()
    assert studio.json(*COMMAND)["masks"] == "masks"
    numbers = range(2, FRAMES + 1)
    pictures = [f"mask-{number:05}.png" for number in numbers]
    assert sorted(contents()) == [*pictures, "masks.csv", "sheet.png"]
    with Image.open("masks/mask-00007.png") as picture:
        assert (picture.mode, picture.size) == ("L", (32, 16))
        assert np.unique(np.asarray(picture)).tolist() == [round(255 * 3.5 / 8)]


def test_the_table_tells_whether_masks_grow_over_the_evaluations(studio: Studio) -> None:
    studio.write()
    studio.json(*COMMAND)
    head, *told = rows()
    assert head == ["frame", "evaluation", "timestep", "mask"]
    assert told[:2] == [["2", "1", "999", "0.0000"], ["2", "2", "899", "0.1250"]]
    assert len(told) == (FRAMES - 1) * SAMPLING.steps
    assert [float(row[3]) for row in told if row[0] == "9"] == [k / 8 for k in range(8)]


def test_the_sheet_shows_frames_with_their_masks_at_steps_from_first_to_last(
    studio: Studio,
) -> None:
    studio.write()
    studio.json(*COMMAND)
    with Image.open("masks/sheet.png") as picture:
        assert picture.info["AI-generated"] == "true"
        sheet = np.asarray(picture)
    columns, gap = 2 + SHEET_FRAMES, 4
    assert sheet.shape == (SHEET_FRAMES * (16 + gap) + gap, columns * (32 + gap) + gap, 3)
    across = sheet[gap, gap + 36 :: 36, 0]
    assert across.tolist() == [round(255 * part / 8) for part in (3.5, 0, 1, 3, 4, 6, 7)]
    studio.json("story", "story.yaml", "-o", "frames")
    with Image.open("frames/frame-00002.png") as first:
        assert np.array_equal(sheet[gap : gap + 16, gap : gap + 32], np.asarray(first))


def test_pixels_of_the_latents_are_blocks_and_the_sheet_stays_small(tmp_path: Path) -> None:
    large = plan({"prompt": "a cat", "frames": 3}, settings={"size": (1024, 512)})
    album = MaskAlbum(large, tmp_path / "masks")
    mask = np.linspace(0, 1, 128 * 64, dtype=np.float32).reshape(64, 128)
    for frame in large.frames:
        if watch := album.watch(frame):
            watch(999, mask)
        entry: Any = type("Entry", (), {"pixels": lambda self: np.zeros((512, 1024, 3), np.uint8)})
        album.add(frame, entry(), None)
    album.write()
    with Image.open(tmp_path / "masks" / "mask-00003.png") as picture:
        values = np.asarray(picture)
    assert values.shape == (512, 1024)
    assert np.array_equal(values[::8, ::8].repeat(8, 0).repeat(8, 1), values)
    assert np.abs(values[::8, ::8] / 255 - mask).max() <= 0.5 / 255 + 1e-6
    with Image.open(tmp_path / "masks" / "sheet.png") as sheet:
        assert sheet.size == (3 * (SHEET_TILE + 4) + 4, 2 * (SHEET_TILE // 2 + 4) + 4)


def test_a_film_of_key_frames_alone_has_an_empty_table(studio: Studio) -> None:
    studio.json("t2v", "a cat", "--frames", "1", "-o", "film.gif", "--save-masks", "masks")
    assert list(contents()) == ["masks.csv"]
    assert len(rows()) == 1


def test_a_picture_that_is_given_has_no_mask(studio: Studio) -> None:
    Image.new("RGB", (32, 16)).save("cat.png")
    options = ("--frames", "3", "-o", "film.gif", "--save-masks", "masks")
    studio.json("animate", "cat.png", "it jumps", *options)
    assert sorted({row[0] for row in rows()[1:]}) == ["2", "3"]


# ---------------------------------------------------------------- frames that are there


def test_frames_of_the_cache_are_drawn_again_for_the_same_masks(studio: Studio) -> None:
    studio.write()
    first = studio.events(*COMMAND)
    assert (first[0]["to_redraw"], len(studio.engine.drawn)) == (0, FRAMES)
    masks, film, kept = contents(), Path("film.gif").read_bytes(), cached()
    again = studio.events(*COMMAND)
    assert (again[0]["to_render"], again[0]["to_redraw"]) == (0, FRAMES - 1)
    assert (again[-1]["rendered"], again[-1]["reused"]) == (0, FRAMES)
    assert len(studio.engine.drawn) == 2 * FRAMES - 1
    assert (contents(), Path("film.gif").read_bytes(), cached()) == (masks, film, kept)
    assert warnings(again) == []
    frames = [event for event in again if event["event"] == "frame"]
    assert frames[0]["seconds_left"] is None and frames[-1]["seconds_left"] == 0


def test_only_what_is_not_drawn_anyway_is_drawn_again(studio: Studio) -> None:
    studio.write()
    studio.json(*STORY_COMMAND)
    studio.write(STORY.replace("a cat jumps", "a cat sleeps"))
    told = studio.events(*COMMAND)
    assert (told[0]["to_render"], told[0]["to_redraw"]) == (4, 5)
    assert len(studio.engine.drawn) == FRAMES + 4 + 5
    assert len(rows()) == 1 + (FRAMES - 1) * SAMPLING.steps


def test_frames_that_a_film_shows_twice_are_drawn_once(studio: Studio) -> None:
    cut = "  - {prompt: a cat, frames: 3, start: cut}\n"
    studio.write(f"segments:\n{cut}{cut}")
    studio.json(*COMMAND)
    studio.json(*COMMAND)
    assert len(studio.engine.drawn) == 3 + 2
    assert sorted({row[0] for row in rows()[1:]}) == ["2", "3", "5", "6"]


def test_frames_that_come_out_otherwise_are_warned_of_once_and_never_kept(studio: Studio) -> None:
    studio.write()
    studio.json(*STORY_COMMAND)
    film, kept = Path("film.gif").read_bytes(), cached()
    studio.engine = StandInEngine(salt="another machine that calls itself the same")
    (warning,) = warnings(studio.events(*COMMAND))
    assert warning.startswith("9 cached frames came out otherwise") and "\n" not in warning
    assert (Path("film.gif").read_bytes(), cached()) == (film, kept)


def test_a_cache_that_cannot_be_written_has_masks_too(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    studio.json(*STORY_COMMAND)

    def refuse(*what: object) -> None:
        raise StorageError("the cache cannot be written")

    monkeypatch.setattr(FrameStore, "prepare", refuse)
    studio.json(*COMMAND)
    assert len(rows()) == 1 + (FRAMES - 1) * SAMPLING.steps


def test_weights_that_changed_since_are_refused(studio: Studio) -> None:
    studio.write()
    studio.json(*STORY_COMMAND)
    studio.engine = StandInEngine(fingerprint="0" * 64)
    result = studio.run(*COMMAND)
    assert result.exit_code == 3 and not Path("masks").exists()


def test_people_hear_what_is_drawn_again_and_where_the_masks_are(studio: Studio) -> None:
    studio.write()
    studio.run(*STORY_COMMAND)
    result = studio.run(*COMMAND)
    assert result.stdout == "film.gif\n"
    assert "9 cached frames are drawn again for their masks" in result.stderr
    assert result.stderr.endswith("masks in masks\n")


def test_without_the_flag_nothing_is_watched_and_json_names_no_folder(studio: Studio) -> None:
    studio.write()
    assert studio.json(*STORY_COMMAND)["masks"] is None
    assert not Path("masks").exists()


# ---------------------------------------------------------------- where they cannot go


def refused(studio: Studio, folder: str, *output: str) -> Any:
    """Return the refusal to write masks to `folder`, which came before any work."""
    result = studio.run("story", "story.yaml", *output, "--save-masks", folder)
    assert studio.loaded == 0 and "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ") and "--save-masks" in result.stderr
    return result


def test_a_place_that_is_not_for_masks_is_refused_before_anything_is_drawn(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    Path("file").write_text("mine")
    Path("folder").mkdir()
    Path("folder/notes.txt").write_text("mine")
    for folder, said in (("file", "no folder"), ("folder", "notes.txt")):
        result = refused(studio, folder)
        assert result.exit_code == 2 and said in result.stderr
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "shut")
    Path("shut").mkdir()
    result = refused(studio, "shut/masks")
    assert result.exit_code == 5 and "cannot be written" in result.stderr
    assert Path("file").read_text() == Path("folder/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["masks.csv", "sheet.png", "mask-00001.png"])
def test_somebody_elses_files_under_our_names_are_not_replaced(studio: Studio, name: str) -> None:
    studio.write()
    Path("masks").mkdir()
    Path("masks", name).write_text("mine")
    result = refused(studio, "masks")
    assert result.exit_code == 2 and name in result.stderr
    assert contents() == {name: b"mine"}


def test_a_folder_of_masks_with_somebody_elses_sheet_is_refused(studio: Studio) -> None:
    studio.write()
    studio.json(*COMMAND)
    studio.loaded = 0
    Image.new("RGB", (4, 4)).save("masks/sheet.png")
    before = contents()
    assert "sheet.png" in refused(studio, "masks").stderr
    assert contents() == before


@pytest.mark.parametrize(
    ("film", "masks"),
    [
        ("new", "new"),
        ("new/film.gif", "new"),
        ("new", "new/masks"),
        ("film.gif", "."),
        ("film.gif", ".artv"),
        ("film.gif", ".artv/masks"),
        ("film.gif", "film.gif.json"),
        ("film.gif", "film.srt"),
    ],
)
def test_film_and_masks_keep_out_of_each_others_way(
    studio: Studio, tmp_path: Path, film: str, masks: str
) -> None:
    (tmp_path / "story.yaml").write_text(STORY)
    result = refused(studio, masks, "-o", film)
    assert result.exit_code == 2


def test_a_full_disk_is_one_sentence_and_leaves_film_and_old_masks(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    studio.json(*COMMAND)
    before = contents()
    studio.write(STORY.replace("a cat walks", "a dog walks"))

    def refuse(*what: object, **how: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("artv_cli.masks.csv.writer", refuse)
    result = studio.run("story", "story.yaml", "-o", "dog.gif", "--save-masks", "masks")
    assert result.exit_code == 5
    assert "masks cannot be written: No space left on device." in result.stderr
    assert Path("dog.gif").exists() and contents() == before
    assert not list(Path().glob(".masks*"))


def test_old_masks_make_room_for_the_new(studio: Studio) -> None:
    studio.write()
    studio.json(*COMMAND)
    studio.write(STORY.replace("frames: 4", "frames: 2"))
    studio.json(*COMMAND)
    assert max(name for name in contents() if name.startswith("mask-")) == "mask-00008.png"
