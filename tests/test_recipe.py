"""A film carries what it is made from, in itself and beside it; either is enough."""

from __future__ import annotations

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from artv_cli.errors import UsageError
from artv_cli.files import output
from artv_cli.media.video import write_video
from artv_cli.recipe import Recipe, read_recipe, sidecar_path, write_sidecar

OUTPUTS = ("film.mp4", "film.gif", "film.webp", "film")
RECIPE = Recipe(
    storyboard='title: "é = 漢; #\\x41"\nsegments:\n  - prompt: "no <b> & \\"it\\" \\\\"\n',
    model="storybook",
    fingerprint="0123abcd" * 8,
    version="0.1.0",
    settings={"seed": 7, "steps": 8, "fps": "30000/1001", "guidance": {"text": 6.5}},
    frames_digest="ff" * 32,
    title="é = 漢",
)


def write_film(path: Path, metadata: dict[str, str]) -> None:
    frame = np.full((16, 16, 3), 99, np.uint8)
    write_video([frame] * 2, path, fps=Fraction(8), count=2, metadata=metadata)


@pytest.mark.parametrize("indent", [None, 2])
def test_json_gives_the_recipe_back(indent: int | None) -> None:
    assert Recipe.from_json(RECIPE.to_json(indent)) == RECIPE


def test_machines_can_tell_that_it_is_generated() -> None:
    fields = json.loads(RECIPE.to_json())
    assert fields["AI-generated"] is True
    assert fields["digitalSourceType"].endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert RECIPE.metadata()["AI-generated"] == "true"


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_film_alone_is_enough(tmp_path: Path, name: str) -> None:
    write_film(tmp_path / name, RECIPE.metadata())
    assert read_recipe(tmp_path / name) == RECIPE


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_sidecar_alone_is_enough(tmp_path: Path, name: str) -> None:
    write_film(tmp_path / name, {})
    path = write_sidecar(RECIPE, tmp_path / name)
    assert path == sidecar_path(tmp_path / name)
    assert read_recipe(tmp_path / name) == read_recipe(path) == RECIPE


def test_a_folder_with_its_recipe_is_still_one_that_may_be_replaced(tmp_path: Path) -> None:
    write_film(tmp_path / "film", {})
    write_sidecar(RECIPE, tmp_path / "film")
    write_film(tmp_path / "film", {})
    assert not (tmp_path / "film" / "recipe.json").exists()


def test_a_folder_in_which_a_writer_of_the_recipe_was_killed_may_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(tmp_path / "film", {})
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        killed.setattr(output, "_sync", die)
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)  # nobody is left to tidy up
        write_sidecar(RECIPE, tmp_path / "film")
    assert any(entry.suffix == ".part" for entry in (tmp_path / "film").iterdir())
    write_film(tmp_path / "film", {})
    assert not any(entry.suffix == ".part" for entry in tmp_path.rglob("*"))


def test_a_film_cut_short_falls_back_to_its_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, RECIPE.metadata())
    write_sidecar(RECIPE, path)
    path.write_bytes(path.read_bytes()[:200])
    assert read_recipe(path) == RECIPE
    path.unlink()
    assert read_recipe(path) == RECIPE


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "none beside it"),
        ("[1]", "not in the format"),
        ("{broken", "has no recipe"),
        ("[" * 100_000, "has no recipe"),
        ('{"format": "artv-recipe 1"}', "storyboard is missing"),
        (RECIPE.to_json().replace('"storybook"', "3"), "model is missing"),
    ],
)
def test_what_is_no_recipe_is_refused_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "film.gif").write_bytes(b"GIF89a rubbish")
    (tmp_path / "film.gif.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_recipe(tmp_path / "film.gif")


def test_a_film_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_recipe(tmp_path / "film.mp4")


@pytest.mark.parametrize("name", ["pipe.mp4", "pipe.gif", "pipe.webp", "pipe.png", "film"])
def test_a_pipe_in_a_films_place_is_never_opened(
    tmp_path: Path, no_waiting: None, name: str
) -> None:
    pipe = tmp_path / name
    if not pipe.suffix:
        pipe.mkdir()
    os.mkfifo(pipe if pipe.suffix else pipe / "frame-0001.png")
    with pytest.raises(UsageError, match="it carries none"):
        read_recipe(pipe)
    write_sidecar(RECIPE, pipe)
    assert read_recipe(pipe) == RECIPE
