"""Where a film goes, what it may replace, and `export`."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from conftest import FRAMES, STORY, Studio
from PIL import Image
from standin import KilledEngine, StandInEngine

from artv_cli import export
from artv_cli.errors import StorageError, UsageError
from artv_cli.files import input_file
from artv_cli.latents import Latents, Pixels
from artv_cli.media import probe as probing
from artv_cli.media.probe import probe
from artv_cli.recipe import read_recipe, sidecar_path


def test_what_artv_did_not_make_is_overwritten_only_with_yes(studio: Studio) -> None:
    studio.write()
    Path("story.mp4").write_bytes(b"holidays")
    refused = studio.run("story", "story.yaml")
    assert (refused.exit_code, refused.stdout, studio.loaded) == (2, "", 0)
    assert "--yes" in refused.stderr
    assert Path("story.mp4").read_bytes() == b"holidays"
    assert studio.run("story", "story.yaml", "--yes").exit_code == 0
    assert studio.run("story", "story.yaml").exit_code == 0, "its own film needs no --yes"


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_a_film_changed_by_hand_is_overwritten_only_with_yes(studio: Studio, suffix: str) -> None:
    studio.write()
    film = f"story.{suffix}"
    for _ in range(2):
        assert studio.run("story", "story.yaml", "-o", film).exit_code == 0
    changed = Path(film).read_bytes() + b"a soundtrack"
    Path(film).write_bytes(changed)  # its metadata is what it was
    refused = studio.run("story", "story.yaml", "-o", film)
    assert refused.exit_code == 2 and "--yes" in refused.stderr
    assert Path(film).read_bytes() == changed
    assert studio.run("story", "story.yaml", "-o", film, "--yes").exit_code == 0


@pytest.mark.parametrize("name", ["frame-00002.png", "frame-00099.png"], ids=["changed", "added"])
def test_a_folder_of_frames_changed_by_hand_is_replaced_only_with_yes(
    studio: Studio, name: str
) -> None:
    studio.write()
    for _ in range(2):
        assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0
    Image.new("RGB", (8, 8), "red").save(f"frames/{name}")
    retouched = Path("frames", name).read_bytes()
    refused = studio.run("story", "story.yaml", "-o", "frames")
    assert refused.exit_code == 2 and "--yes" in refused.stderr
    assert Path("frames", name).read_bytes() == retouched
    assert studio.run("story", "story.yaml", "-o", "frames", "--yes").exit_code == 0


def test_another_film_in_the_place_of_artvs_is_not_taken_for_it(studio: Studio) -> None:
    """The recipe beside it tells of the film that was there."""
    studio.write()
    studio.run("story", "story.yaml", "--no-metadata", "-o", "mine.mp4")
    studio.run("story", "story.yaml")
    shutil.copy("mine.mp4", "story.mp4")
    assert studio.run("story", "story.yaml").exit_code == 2
    assert Path("story.mp4").read_bytes() == Path("mine.mp4").read_bytes()


def test_the_same_command_goes_on_where_the_new_recipe_could_not_be_written(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    studio.run("story", "story.yaml")
    again = ("story", "story.yaml", "--seed", "5")
    with monkeypatch.context() as stopped:
        stopped.setattr(export, "write_sidecar", interrupted)
        assert studio.run(*again).exit_code == 130
    assert studio.run(*again).exit_code == 0


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("output", [".", "..", "../frames"])
def test_the_folder_that_one_is_in_is_not_replaced(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    studio.write()
    here = studio.folder / "frames" / "inner"
    here.mkdir(parents=True)
    monkeypatch.chdir(here.parent if output == "." else here)
    inside = "../story.yaml" if output == "." else "../../story.yaml"
    refused = studio.run("story", inside, "-o", "../../frames" if "frames" in output else output)
    assert refused.exit_code == 2 and "the folder that you are in" in refused.stderr
    assert here.is_dir() and studio.loaded == 0


@pytest.mark.parametrize("name", ["story.mp4", "story.mp4.json", "story.srt"])
def test_a_file_put_where_the_film_goes_while_it_is_drawn_is_not_lost(
    studio: Studio, name: str
) -> None:
    class Housemate(StandInEngine):
        def decode(self, latents: Latents) -> Pixels:
            Path(name).write_bytes(b"holidays")
            return super().decode(latents)

    studio.write()
    studio.engine = Housemate()
    refused = studio.run("story", "story.yaml")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert name in refused.stderr and "--yes" in refused.stderr
    assert Path(name).read_bytes() == b"holidays"
    assert studio.json("story", "story.yaml", "--yes")["rendered"] == 0, "all frames are kept"


def test_a_folder_of_pictures_that_artv_did_not_make_is_kept(studio: Studio) -> None:
    studio.write()
    Path("frames").mkdir()
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0
    Path("frames/recipe.json").unlink()
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0, "frames carry it, too"
    Path("frames/holidays.jpg").write_bytes(b"")
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 2


def test_a_film_of_many_segments_can_be_made_again_from_itself_whatever_flags_said(
    studio: Studio,
) -> None:
    studio.write("segments:\n" + "- {prompt: a cat, frames: 1, steps: 9}\n" * 700)
    flags = ("--steps", "3", "--seed", "4", "--guidance", "text=2,anchor=1")
    first = studio.json("story", "story.yaml", "-o", "film.gif", *flags)
    again = studio.json("story", "film.gif", "-o", "again.gif")
    assert (first["rendered"], again["rendered"]) == (700, 0)


def test_no_metadata_leaves_no_recipe(studio: Studio) -> None:
    studio.write()
    studio.run("story", "story.yaml")
    studio.run("story", "story.yaml", "--no-metadata")
    assert not Path("story.mp4.json").exists(), "nor that of the film that was replaced"
    with pytest.raises(UsageError):
        read_recipe(Path("story.mp4"))


def test_a_recipe_that_artv_did_not_write_is_overwritten_only_with_yes(studio: Studio) -> None:
    studio.write()
    Path("story.mp4.json").write_text("mine")
    refused = studio.run("story", "story.yaml")
    assert (refused.exit_code, refused.stdout, studio.loaded) == (2, "", 0)
    assert "story.mp4.json" in refused.stderr and "--yes" in refused.stderr
    assert studio.run("story", "story.yaml", "--no-metadata").exit_code == 0, "it writes none"
    assert Path("story.mp4.json").read_text() == "mine"
    assert studio.run("story", "story.yaml", "--yes").exit_code == 0
    assert read_recipe(Path("story.mp4.json")).title == "The cat and the rocket"


@pytest.mark.parametrize(("number", "code"), [(errno.EIO, 5), (errno.EACCES, 2)])
def test_only_a_recipe_that_may_not_be_read_is_taken_for_somebody_elses(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    def fail(path: Path, **_: str) -> str:
        raise OSError(number, os.strerror(number), str(path))

    studio.write()
    studio.json("story", "story.yaml")
    monkeypatch.setattr(Path, "read_text", fail)
    refused = studio.run("story", "story.yaml")
    assert refused.exit_code == code and ("--yes" in refused.stderr) == (code == 2)
    unasked = studio.run("story", "story.yaml", "--no-metadata")
    assert unasked.exit_code == (5 if code == 5 else 0) and "unexpected" not in unasked.stderr


@pytest.mark.parametrize("output", ["film.gif", "film.webp", "film.png", "frames"])
def test_a_film_on_a_failing_disk_is_not_taken_for_somebody_elses(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    def fail(path: Path, *_: str) -> IO[bytes]:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    studio.write()
    studio.json("story", "story.yaml", "-o", output)
    monkeypatch.setattr(probing, "open", fail, raising=False)
    refused = studio.run("story", "story.yaml", "-o", output)
    assert (refused.exit_code, "--yes" in refused.stderr) == (5, False), refused.stderr


@contextmanager
def failing_questions(*paths: Path, first: int) -> Iterator[list[str]]:
    """Fail when the system is asked about the paths for the `first` time, and from then on."""
    stat, names, asked = os.stat, {path.name for path in paths}, []

    def fail(path: Any, *rest: Any, **how: Any) -> os.stat_result:
        if isinstance(path, str | os.PathLike) and Path(path).name in names:
            asked.append(str(path))
            if len(asked) >= first:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return stat(path, *rest, **how)

    with pytest.MonkeyPatch.context() as failing:
        failing.setattr(os, "stat", fail)
        failing.setattr(os, "lstat", partial(fail, follow_symlinks=False))
        yield asked


@pytest.mark.parametrize("output", ["film.mp4", "film.png", "frames"])
def test_a_disk_that_begins_to_fail_at_any_question_is_not_taken_for_an_answer(
    studio: Studio, output: str
) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", output)
    film = Path(output)
    paths = film, sidecar_path(film), film.with_suffix(".srt")
    for first in itertools.count(1):
        with failing_questions(*paths, first=first) as asked:
            result = studio.run("story", "story.yaml", "-o", output)
        if len(asked) < first:
            break
        assert (result.exit_code, "--yes" in result.stderr) == (5, False), (first, result.stderr)
    assert first > 5


def test_subtitles_on_a_failing_disk_are_not_taken_for_somebody_elses(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, flags: int) -> int:
        if path.suffix == ".srt":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return os.open(path, flags)

    studio.write()
    studio.json("story", "story.yaml")
    Path("story.yaml").write_text(STORY.replace("And then", "At last"))
    monkeypatch.setattr(input_file, "os", SimpleNamespace(**vars(os) | {"open": fail}))
    refused = studio.run("story", "story.yaml")
    assert (refused.exit_code, "--yes" in refused.stderr) == (5, False), refused.stderr


def test_a_folder_of_frames_is_refused_for_the_recipe_inside_and_no_other(studio: Studio) -> None:
    studio.write()
    Path("frames.json").write_text("mine")
    assert studio.run("story", "story.yaml", "-o", "frames").exit_code == 0
    Path("frames/recipe.json").write_text("mine")
    for how in ((), ("--no-metadata",)):
        refused = studio.run("story", "story.yaml", "-o", "frames", *how)
        assert refused.exit_code == 2 and "recipe.json" in refused.stderr
    assert Path("frames.json").read_text() == Path("frames/recipe.json").read_text() == "mine"


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


@pytest.mark.parametrize(
    ("picture", "output"), [("frames/frame-00002.png", "frames"), ("sheet.png", "sheet.png")]
)
def test_a_film_never_takes_the_place_of_a_picture_that_it_is_made_from(
    studio: Studio, picture: str, output: str
) -> None:
    studio.write()
    assert studio.run("story", "story.yaml", "-o", output).exit_code == 0
    studio.write(f"image: {picture}\n{STORY}", "next.yaml")
    before = Path(picture).read_bytes()
    refused = studio.run("story", "next.yaml", "-o", output)
    assert refused.exit_code == 2, refused.stderr
    assert f"{output} would replace {picture}" in refused.stderr
    assert Path(picture).read_bytes() == before


def test_a_film_never_takes_the_place_of_the_cache(studio: Studio) -> None:
    studio.write()
    for cache in ("frames", "frames/kept"):
        refused = studio.run("story", "story.yaml", "-o", "frames", "--cache", cache)
        assert (refused.exit_code, studio.loaded) == (2, 0)
        assert f"frames would replace the cache {cache}." in refused.stderr


def test_a_sheet_may_be_a_link_to_a_file_of_any_name(studio: Studio) -> None:
    studio.write()
    Path("sheet.png").symlink_to("blob")
    assert studio.run("story", "story.yaml", "-o", "sheet.png").exit_code == 0
    assert Path("sheet.png").is_symlink()
    assert read_recipe(Path("sheet.png")).title


@pytest.mark.parametrize("output", ["loop.mp4", "loop.mp4/film.mp4", "loop.mp4/frames"])
@pytest.mark.parametrize("flag", ["-o", "--save-masks"])
def test_an_output_that_is_a_loop_of_links_is_refused_in_a_sentence(
    studio: Studio, flag: str, output: str
) -> None:
    studio.write()
    Path("loop.mp4").symlink_to("loop.mp4")
    result = studio.run("story", "story.yaml", flag, output)
    assert (result.exit_code, studio.loaded) == (5, 0)
    assert f"{output} cannot be written: Too many levels" in result.stderr


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
    assert "the first is frame 8 (segment 2)." in result.stderr
    assert "Run `artv story`" in result.stderr
    assert not Path("film.gif").exists()


def test_subtitles_that_artv_did_not_write_are_overwritten_only_with_yes(studio: Studio) -> None:
    studio.write()
    Path("story.srt").write_text("mine")
    refused = studio.run("story", "story.yaml")
    assert (refused.exit_code, refused.stdout, studio.loaded) == (2, "", 0)
    assert "story.srt" in refused.stderr and "--yes" in refused.stderr
    assert Path("story.srt").read_text() == "mine"
    assert studio.run("story", "story.yaml", "--yes").exit_code == 0
    assert "And then" in Path("story.srt").read_text()


def test_a_pipe_that_is_called_like_a_film_is_not_asked_for_its_subtitles(
    studio: Studio, no_waiting: None
) -> None:
    studio.write()
    Path("story.srt").write_text("mine")
    os.mkfifo("story.png")
    refused = studio.run("story", "story.yaml")
    assert refused.exit_code == 2 and "story.srt" in refused.stderr


def test_subtitles_edited_by_hand_are_kept_though_the_film_is_artvs(studio: Studio) -> None:
    studio.write()
    studio.run("story", "story.yaml")
    edited = Path("story.srt").read_text().replace("And then", "And then…")
    Path("story.srt").write_text(edited)
    assert studio.run("story", "story.yaml").exit_code == 2
    studio.write(STORY.replace("    narration: And then\n", ""))
    assert studio.run("story", "story.yaml").exit_code == 0, "nothing would replace them"
    assert Path("story.srt").read_text() == edited


def test_its_own_subtitles_need_no_yes_for_other_words_another_speed_or_another_format(
    studio: Studio,
) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", "film.gif")
    studio.write(STORY.replace("And then", "And now"))
    studio.json("export", "story.yaml", "-o", "film.gif")
    studio.json("export", "story.yaml", "-o", "film.mp4", "--fps", "4")
    assert "00:00:01,500 --> 00:00:02,500\nAnd now" in Path("film.srt").read_text()


def test_subtitles_go_when_the_film_has_no_narration_any_more(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.write(STORY.replace("    narration: And then\n", ""))
    studio.json("story", "story.yaml", "-o", "another.mp4")
    assert Path("story.srt").exists()
    studio.json("story", "story.yaml")
    assert not Path("story.srt").exists()


def stop_at(name: str, film: str, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a render end where `artv_cli.export` calls `name`, which finds the disk full."""

    def full(*_: object, **__: object) -> None:
        raise StorageError("The disk is full.", "Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(export, name, full)
        assert studio.run("story", "story.yaml", "-o", film).exit_code == 5


@pytest.mark.parametrize("film", ["story.mp4", "frames"])
def test_the_same_command_goes_on_where_the_new_subtitles_could_not_be_written(
    studio: Studio, film: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", film)
    for words in ("And now", "And soon"):
        studio.write(STORY.replace("And then", words))
        stop_at("write_srt", film, studio, monkeypatch)
    studio.json("story", "story.yaml", "-o", film)
    assert "And soon" in Path(film).with_suffix(".srt").read_text()


@pytest.mark.parametrize("film", ["story.mp4", "frames"])
def test_the_same_command_removes_the_subtitles_that_a_stopped_one_left(
    studio: Studio, film: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", film)
    studio.write(STORY.replace("    narration: And then\n", ""))
    stop_at("remove", film, studio, monkeypatch)
    studio.json("story", "story.yaml", "-o", film)
    assert not Path(film).with_suffix(".srt").exists()


def test_a_folder_made_again_without_a_recipe_has_none(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml", "-o", "frames")
    studio.json("story", "story.yaml", "-o", "frames", "--no-metadata")
    assert not Path("frames/recipe.json").exists()


def test_a_folder_of_frames_has_its_subtitles_beside_it(studio: Studio) -> None:
    studio.write()
    for _ in range(2):
        assert studio.json("story", "story.yaml", "-o", "frames")["frames"] == FRAMES
    assert "And then" in Path("frames.srt").read_text()


@pytest.mark.parametrize("how", [(), ("--json",)], ids=["plain", "json"])
def test_a_path_that_is_not_utf_8_is_written_to_and_printed_as_it_is(
    studio: Studio, how: tuple[str, ...]
) -> None:
    film = os.fsdecode(b"caf\xe9.gif")
    board = studio.write(name=os.fsdecode(b"caf\xe9.yaml"))
    result = studio.run("story", board.name, "-o", film, *how)
    assert result.exit_code == 0, result.stderr
    assert Path(film).exists()
    if how:
        assert json.loads(result.stdout_bytes.splitlines()[-1])["output"] == film
    else:
        assert result.stdout_bytes == b"caf\xe9.gif\n"


def test_a_film_tells_of_a_model_whose_path_is_not_utf_8(studio: Studio) -> None:
    folder = Path(os.fsdecode(b"caf\xe9"))
    (folder / "m").mkdir(parents=True)
    studio.write(f"model: ./m\n{STORY}", f"{folder}/story.yaml")
    for _ in range(2):
        studio.json("story", f"{folder}/story.yaml", "-o", "film.gif")
        for told in ("film.gif", "film.gif.json"):
            assert read_recipe(Path(told)).model == f"./{folder}/m"


def test_export_names_an_anchor_image_that_is_missing(anchored: Studio) -> None:
    result = anchored.run("export", "story.yaml", "-o", "film.gif")
    assert (result.exit_code, anchored.loaded) == (1, 1)
    assert "the first is the anchor image of segment 2." in result.stderr


def test_another_seed_of_a_clip_is_another_film(studio: Studio) -> None:
    """A second try took the place of the first."""
    Image.new("RGB", (32, 16)).save("cat.png")
    for seed, ending in ((), ""), (("--seed", "3"), "-seed-3"):
        made = studio.json("t2v", "A cat jumps", "--frames", "1", *seed)["output"]
        assert made == f"a-cat-jumps{ending}.mp4"
        made = studio.json("animate", "cat.png", "it jumps", "--frames", "1", *seed)["output"]
        assert made == f"cat{ending}.mp4"
