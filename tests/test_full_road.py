"""The whole road at tiny size: from base weights over a killed training to a story."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_base import tiny_base

from artv_cli.model.folder import EMBEDDED
from artv_cli.train.shards import find_samples
from benchmarks.full_road import Road, decibels, story_clip, write_stories


def test_stories_become_shards_that_training_reads(tmp_path: Path) -> None:
    write_stories(tmp_path, range(2), 3, 64)
    samples = find_samples([tmp_path])
    assert [(s.key, s.frames) for s in samples] == [("story00000", 3), ("story00001", 3)]
    assert samples[1].read(samples[1].caption).decode() == story_clip(1, 3, 64)[1]


def test_decibels_are_those_of_the_mean_squared_error() -> None:
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert decibels(list(black), list(black + 255)) == 0
    assert decibels(list(black), list(black + 51)) == pytest.approx(13.98, abs=0.01)


@pytest.mark.slow
def test_the_road_from_base_weights_to_a_story_holds(tmp_path: Path) -> None:
    tiny_base(tmp_path / "base")
    # A random autoencoder has hardly any pictures to tell apart.
    shutil.copytree(EMBEDDED / "vae", tmp_path / "base" / "vae", dirs_exist_ok=True)
    road = Road(base=tmp_path / "base", out=tmp_path, overfit_steps=300)
    measured = road.go()
    assert measured["frames"] == 4
    assert measured["decibels"] > measured["still_decibels"] + 1
