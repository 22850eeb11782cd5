"""`artv prepare` on the command line."""

from __future__ import annotations

from conftest import Studio
from home_videos import film, shot


def test_videos_become_shards(studio: Studio) -> None:
    film(studio.folder / "videos" / "a.mp4", shot("cat", "jump", "snow", 10), "a cat jumps")
    (studio.folder / "videos" / "b.mp4").write_bytes(b"")
    (told,) = studio.events("prepare", "videos", "--out", "shards", "--size", "64")
    assert told["output"] == "shards" and told["seconds"] == 10 / 8
    assert (told["videos"], told["unreadable"], told["clips"]["kept"]) == (2, 1, 1)
    again = studio.run("prepare", "videos", "--out", "shards", "--size", "64")
    assert (again.exit_code, again.stdout) == (0, "shards\n")
    assert "1 clip, 1 s in all" in again.stderr
    assert "1 of 2 videos cannot be used: shards/unreadable.txt" in again.stderr


def test_nothing_kept_is_said(studio: Studio) -> None:
    film(studio.folder / "a.mp4", shot("cow", "still", "meadow", 1) * 9, "a cow")
    result = studio.run("prepare", "a.mp4", "--out", "shards")
    assert result.exit_code == 0
    assert "left out: 1 too still" in result.stderr and "no clip was kept" in result.stderr


def test_bad_options_are_told(studio: Studio) -> None:
    for options, problem in (
        (("--keep", "0.5"), "--keep 0.5 chooses by the scores of --clip-model"),
        (("--keep", "0", "--clip-model", "x"), "keeps nothing"),
        (("--min-motion", "5", "--max-motion", "2"), "--min-motion 5.0 is above"),
        (("--size", "65"), "--size 65 is no multiple of 2"),
        ((), "There is no videos"),
    ):
        result = studio.run("prepare", "videos", "--out", "shards", *options)
        assert result.exit_code == 2 and problem in result.stderr


def test_a_model_that_is_not_there_has_its_exit_code(studio: Studio) -> None:
    film(studio.folder / "a.mp4", shot("cow", "still", "meadow", 1) * 9, "a cow")
    result = studio.run("prepare", "a.mp4", "--out", "shards", "--clip-model", "./nowhere")
    assert result.exit_code == 3 and "there is no model" in result.stderr, result.stderr
