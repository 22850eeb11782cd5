"""The whole road at tiny size: from base weights over a killed training to a story."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file
from test_docs import parse, readme
from tiny_base import tiny_base

from artv_cli.media.video import probe
from artv_cli.model.folder import EMBEDDED
from artv_cli.prepare.preparation import Order, prepare
from artv_cli.train.training_recipe import load_training_recipe
from benchmarks.full_road import (
    Road,
    decibels,
    kill,
    planned,
    prepared_clips,
    same_bits,
    story_clip,
    write_films,
)


def test_films_of_the_storybook_become_shards_by_artv_prepare(tmp_path: Path) -> None:
    films = tmp_path / "films"
    write_films(films, (3, 4), 8, 64)
    frames, caption = story_clip(3, 8, 64)
    assert probe(films / "story00003.mp4").frames == 8
    assert (films / "story00003.txt").read_text() == f"{caption}\n"
    prepare(Order(places=(films,), out=tmp_path / "shards", size=64), lambda line: None)
    (prepared,) = prepared_clips(tmp_path / "shards", 64)  # in the other one nothing moves
    assert prepared[1] == caption
    assert decibels(prepared[0], frames) > 30


def test_decibels_are_those_of_the_mean_squared_error() -> None:
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert decibels(list(black), list(black + 255)) == 0
    assert decibels(list(black), list(black + 51)) == pytest.approx(13.98, abs=0.01)


def test_a_launcher_is_killed_with_what_it_started_and_nothing_is_left_to_collect() -> None:
    started = "import subprocess; subprocess.run(['sleep', '60'], start_new_session=True)"
    process = subprocess.Popen([sys.executable, "-c", started])
    while not (children := psutil.Process(process.pid).children()):
        time.sleep(0.05)
    kill(process)
    assert process.returncode == -signal.SIGKILL
    assert not any(child.is_running() for child in children)


def test_every_training_stays_on_the_cpu_however_many_processes_it_has(tmp_path: Path) -> None:
    road = Road(base=tmp_path / "base", out=tmp_path)
    two, one = road.training_command("alone"), road.training_command("overfit", processes=1)
    assert two[-2:] == one[-2:] == ["--device", "cpu"]
    assert two[two.index("--nproc-per-node") + 1] == "2"
    for words, name in ((two, "alone"), (one, "overfit")):
        start = words.index("artv_cli") + 1
        parse(shlex.join(["artv", *words[start:]]))
        assert words[start + 1] == str(tmp_path / f"{name}.yaml")


def test_its_recipes_load(tmp_path: Path) -> None:
    road = Road(base=tmp_path / "base", out=tmp_path)
    road._recipe("alone", "clips", 6)
    road._recipe("stopped", "clips", 6, checkpoint_every="1ms")
    recipes = [load_training_recipe(tmp_path / f"{name}.yaml") for name in ("alone", "stopped")]
    assert [recipe.checkpoint_every for recipe in recipes] == [3600, Fraction(1, 1000)]
    assert {recipe.samples for recipe in recipes} == {24}


def test_the_road_of_the_readme_has_all_its_parts() -> None:
    (line,) = (line for line in readme().splitlines() if "-m benchmarks.full_road" in line)
    road = planned(shlex.split(line)[3:])
    assert road.side == 320 and road.overfit_steps == 300


def test_states_are_the_same_where_every_bit_is(tmp_path: Path) -> None:
    states = {"one": torch.ones(2), "same": torch.ones(2), "other": torch.tensor([1, 1 + 1e-7])}
    for name, weight in states.items():
        (tmp_path / name).mkdir()
        save_file({"weight": weight}, tmp_path / name / "state.safetensors")
    assert same_bits(tmp_path / "one", tmp_path / "same")
    assert not same_bits(tmp_path / "one", tmp_path / "other")


@pytest.mark.slow
def test_the_road_from_base_weights_to_a_story_holds(tmp_path: Path) -> None:
    # A random autoencoder has hardly any pictures to tell apart.
    channels = json.loads((EMBEDDED / "vae" / "config.json").read_text())["latent_channels"]
    tiny_base(tmp_path / "base", unet={"in_channels": channels, "out_channels": channels})
    shutil.copytree(EMBEDDED / "vae", tmp_path / "base" / "vae", dirs_exist_ok=True)
    road = Road(base=tmp_path / "base", out=tmp_path, overfit_steps=300)
    measured = road.go()
    assert measured["frames"] == 4
    assert measured["decibels"] > measured["still_decibels"] + 1
    assert measured["decibels"] > 19  # 22.9 when the README was written
