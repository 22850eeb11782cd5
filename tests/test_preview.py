"""The newest frame as a picture: a whole file at every moment, half blocks in a terminal."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import FRAMES, STORY, Studio
from PIL import Image
from rich.console import Console

from artv_cli.errors import StorageError, UsageError
from artv_cli.media.probe import read_frames
from artv_cli.preview import (
    PREVIEW_INTERVAL,
    PreviewFile,
    can_show,
    check_preview,
    half_blocks,
    preview_path,
)


def frame(value: int, *, reused: bool = False) -> Any:
    pixels = np.full((4, 6, 3), value, np.uint8)
    return SimpleNamespace(entry=SimpleNamespace(pixels=lambda: pixels), reused=reused)


def value(path: Path) -> int:
    with Image.open(path) as picture:
        return int(np.asarray(picture)[0, 0, 0])


@pytest.mark.parametrize(
    ("output", "preview"),
    [
        ("film.mp4", "film.preview.png"),
        ("a/b.gif", "a/b.preview.png"),
        ("frames", "frames.preview.png"),
    ],
)
def test_the_preview_stands_beside_the_output(output: str, preview: str) -> None:
    assert preview_path(Path(output)) == Path(preview)


def test_the_picture_follows_the_newest_frame_but_not_every_moment(tmp_path: Path) -> None:
    now, path = [0.0], tmp_path / "film.preview.png"
    preview = PreviewFile(path, pytest.fail, clock=lambda: now[0])
    preview.frame(frame(1))
    assert value(path) == 1
    preview.frame(frame(2))
    assert value(path) == 1, "too soon for another"
    now[0] += PREVIEW_INTERVAL
    preview.frame(frame(3))
    assert value(path) == 3
    preview.frame(frame(4))
    preview.encoding(Path("film.mp4"))
    assert value(path) == 4, "the last frame stays"


def test_reused_frames_cost_nothing_until_the_last(tmp_path: Path) -> None:
    path = tmp_path / "film.preview.png"
    preview = PreviewFile(path, pytest.fail)
    preview.frame(frame(1, reused=True))
    assert not path.exists()
    preview.encoding(Path("film.mp4"))
    assert value(path) == 1


def test_a_preview_that_cannot_be_written_is_said_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "film.preview.png").mkdir()
    said: list[str] = []
    PreviewFile(tmp_path / "film.preview.png", said.append).frame(frame(1))
    assert len(said) == 1 and said[0].startswith("no preview: ")


def test_a_picture_that_is_no_preview_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "film.preview.png"
    check_preview(path, overwrite=False)
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(UsageError, match="artv did not make it"):
        check_preview(path, overwrite=False)
    check_preview(path, overwrite=True)
    PreviewFile(path, pytest.fail).frame(frame(1))
    check_preview(path, overwrite=False)


def test_a_pipe_in_the_previews_place_is_no_preview_and_is_not_opened(
    tmp_path: Path, no_waiting: None
) -> None:
    os.mkfifo(tmp_path / "film.preview.png")
    with pytest.raises(UsageError, match="artv did not make it"):
        check_preview(tmp_path / "film.preview.png", overwrite=False)


def test_half_blocks_keep_the_shape_and_the_colours() -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:32] = (200, 0, 0)
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="truecolor", width=80)
    console.print(half_blocks(pixels, columns=32, rows=20), end="")
    rows = written.getvalue().splitlines()
    assert len(rows) == 8, "32 columns wide, so 16 pixels high, two in each row"
    assert all(row.count("▀") == 32 for row in rows)
    assert "38;2;200;0;0;48;2;200;0;0m" in rows[0]
    assert "38;2;0;0;0;48;2;0;0;0m" in rows[-1]


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ({"force_terminal": True, "color_system": "truecolor"}, True),
        ({"force_terminal": True, "color_system": "truecolor", "no_color": True}, False),
        ({"force_terminal": True, "color_system": None}, False),
        ({"force_terminal": False}, False),
    ],
)
def test_pictures_are_for_terminals_with_colour(how: dict[str, Any], shown: bool) -> None:
    assert can_show(Console(file=io.StringIO(), **how)) is shown


def test_a_story_with_preview_ends_with_its_last_frame_beside_the_film(studio: Studio) -> None:
    studio.write()
    assert studio.json("story", "story.yaml", "-o", "film", "--preview")["frames"] == FRAMES
    with Image.open("film.preview.png") as picture:
        assert picture.info["AI-generated"] == "true"
        *_, last = read_frames(Path("film"))
        assert (np.asarray(picture) == last).all()
    Image.new("RGB", (4, 4)).save("story.preview.png")
    refused = studio.run("story", "story.yaml", "--preview")
    assert refused.exit_code == 2 and "story.preview.png" in refused.stderr
    assert studio.run("story", "story.yaml", "--preview", "--yes").exit_code == 0


def test_without_the_flag_there_is_no_preview(studio: Studio) -> None:
    studio.write(STORY)
    studio.json("story", "story.yaml")
    assert not Path("story.preview.png").exists()


def test_a_full_disk_costs_the_preview_and_not_the_film(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Any:
        raise StorageError(f"{path} cannot be written: no space")

    monkeypatch.setattr("artv_cli.preview.replacing", refuse)
    studio.write()
    result = studio.run("story", "story.yaml", "--preview")
    assert result.exit_code == 0
    assert result.stderr.count("no preview: ") == 1
