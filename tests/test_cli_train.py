"""`artv train`, the command: which recipe is meant, and which options it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from accelerate.state import AcceleratorState, PartialState
from test_storybook_session import TINY
from typer.testing import CliRunner

from artv_cli.cli import app
from artv_cli.commands.train import PresetName
from artv_cli.train import preset
from artv_cli.train.run_folder import alone

STORYBOOK = ["storybook", "--preset", "cpu"]


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state()
    PartialState._reset_state()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the preset called cpu is a tiny one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("artv_cli.train.vae.LOOKED_AT", 4)
    monkeypatch.setattr(preset, "PRESETS", {"cpu": TINY, "gpu": preset.GPU})
    return tmp_path


def train(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_the_names_of_the_presets_are_those_that_there_are() -> None:
    assert {name for name in preset.PRESETS} == {*get_args(PresetName)}


def test_the_storybook_is_trained_and_its_model_is_the_result(here: Path) -> None:
    told = json.loads(train(*STORYBOOK, "--json", "--samples", "2").stdout)
    assert told == {"step": 1, "samples": 2, "model": "runs/storybook/model"}
    assert (here / told["model"] / "model_index.json").exists()


def test_a_run_without_time_says_where_it_goes_on(here: Path) -> None:
    assert train(*STORYBOOK, "--minutes", "0", "--out", "mine").stdout == "mine\n"
    assert (here / "mine" / "vae").exists()


def test_a_file_called_storybook_comes_first_and_a_folder_does_not(here: Path) -> None:
    train("./storybook", code=2)  # a file, and it is not there
    (here / "storybook").mkdir()
    train(*STORYBOOK, "--minutes", "0")
    (here / "storybook").rmdir()
    (here / "storybook").write_text("model: 1\n")
    assert "storybook:1:" in train("storybook", code=2).stderr
    assert "takes no --preset" in train(*STORYBOOK, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mine.yaml", "--preset", "cpu"], "the recipe mine.yaml takes no --preset"),
        (["mine.yaml", "--start-from", "x"], "the recipe mine.yaml takes no --start-from"),
        (["mine.yaml", "--decoder-only"], "the recipe mine.yaml takes no --decoder-only"),
        (["./storybook", "--preset", "cpu"], "the recipe ./storybook takes no --preset"),
        (["storybook"], "the recipe storybook needs a --preset"),
        ([*STORYBOOK, "--device", "cpu"], "the recipe storybook takes no --device"),
        ([*STORYBOOK, "--lora", "4"], "the recipe storybook takes no --lora"),
        ([*STORYBOOK, "--decoder-only"], "--decoder-only of storybook needs a model"),
        (
            [*STORYBOOK, "--decoder-only", "--start-from", "x", "--samples", "3"],
            "the recipe storybook takes no --samples",
        ),
        ([*STORYBOOK, "--start-from", "no/such/model"], "there is no model"),
    ],
)  # fmt: skip
def test_options_that_a_recipe_cannot_take_are_refused_in_one_sentence(
    arguments: list[str], sentence: str, here: Path
) -> None:
    code = 3 if sentence == "there is no model" else 2
    said = train(*arguments, code=code).stderr
    assert said.startswith(f"error: {sentence}")
    assert len(said.strip().splitlines()) == 2  # the sentence, and what to do
    assert not (here / "runs").exists()


def test_a_preset_that_does_not_exist_is_refused() -> None:
    assert "cpu" in train("storybook", "--preset", "tpu", code=2).stderr


def test_the_second_of_two_runs_in_one_folder_is_refused(here: Path) -> None:
    with alone(here / "runs" / "storybook"):
        assert "Another process trains in" in train(*STORYBOOK, code=4).stderr
