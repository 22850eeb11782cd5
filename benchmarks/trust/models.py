"""Killed work resumes to the same bits with a real model as well: the embedded one, or a tiny one.

The tiny model has every part of a real one at 32 channels, and stands in where the embedded
model's weights are not.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from standin import story

from artv_cli.export import Output
from artv_cli.model.folder import embedded_models
from artv_cli.observer import Observer
from artv_cli.settings import Settings
from artv_cli.story import StoryReport, StoryRequest, render_story
from benchmarks.trust import stories
from benchmarks.trust.kills import (
    AROUND_A_COMMIT,
    IN_FILM,
    Place,
    Whole,
    expect_resumed,
    kill_until_through,
    whole_of,
)
from benchmarks.trust.proof import Check, expect, randoms
from benchmarks.trust.stories import kept

SEGMENTS = ({"prompt": "a cat walks", "frames": 3}, {"prompt": "a rocket flies", "frames": 3})
STEPS = 2
_MOST_KILLS = 6  # of one story


def model_kills(seed: int, folder: Path) -> Iterator[Check]:
    """Yield stories drawn by a real model, killed until they come through; proofs are kills."""
    import torch
    from tiny import tiny_folder

    torch.set_num_threads(1)  # a forked child has no other thread to wait for
    model = "storybook" if "storybook" in embedded_models() else str(tiny_folder(folder))
    _film(model, folder / "warm")
    started = time.perf_counter()
    report = _film(model, folder / "whole")
    seconds = time.perf_counter() - started
    whole = whole_of(report, folder / "whole", seconds)
    for rng in randoms(seed):
        yield partial(_killed_and_resumed, rng, model, whole)


def _killed_and_resumed(rng: Random, model: str, whole: Whole, home: Path) -> Counter[str]:
    from artv_cli.artv_engine import ArtvEngine  # it imports torch

    cache, frames = home / ".artv", len(whole.frames)
    in_model = {
        "in the model": Place(ArtvEngine, "next_frame"),
        "in the decoder": Place(ArtvEngine, "decode"),
    }
    places = AROUND_A_COMMIT | IN_FILM | in_model
    landed = kill_until_through(
        rng, partial(_film_alone, model, home), cache, places,
        seconds=whole.seconds, passes=frames, most=_MOST_KILLS,
    )  # fmt: skip
    before, report = kept(cache), _film(model, home)
    expect_resumed(before, kept(cache), report.rendered)
    expect(report.frame_digests == whole.frames, "other frames")
    expect(stories.picture_digest(report.output) == whole.pictures, "another film")
    expect(stories.beside_cache(home) == whole.files, "other files beside the film")
    return landed


def _film_alone(model: str, home: Path) -> None:
    """Make the film in a forked child, where torch cannot be called from a second thread."""
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # transformers reads weights in threads otherwise
    _film(model, home)


def _film(model: str, home: Path) -> StoryReport:
    home.mkdir(exist_ok=True)
    over = Settings(model=model, steps=STEPS, device="cpu")
    request = StoryRequest(storyboard=story(*SEGMENTS), home=home, over=over)
    return render_story(request, Output(path=home / stories.FILM), Observer())
