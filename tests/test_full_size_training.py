"""The full-size training script at tiny size, where it runs on a CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from tiny import LATENT, SIZE, tiny_networks, tiny_text, tiny_vae

from artv_cli.train.learner import Learner
from benchmarks import full_size_training
from benchmarks.clips import encode_stories, random_clips
from benchmarks.full_size_training import Limit, Row, new_trainer, summary, train

LENGTH = 6


def quiet(line: str) -> None:
    """Report nothing."""


def test_clips_have_the_scale_of_latents_and_a_caption_for_every_frame() -> None:
    clips = encode_stories(tiny_vae(), 2, LENGTH, SIZE[0])
    frames = torch.stack([clips.latents(clip) for clip in range(len(clips))])
    assert frames.shape == (2, LENGTH, *LATENT)
    assert frames.mean().item() == pytest.approx(0, abs=1e-4)
    assert frames.std().item() == pytest.approx(1, abs=1e-3)
    assert all(len(captions) == LENGTH for captions in clips.captions)


def trained(folder: Path, learning_rate: float) -> list[Row]:
    torch.manual_seed(0)
    learner = Learner(tiny_networks(), tiny_text())
    learner.text.requires_grad_(False)
    clips = encode_stories(tiny_vae(), 2, LENGTH, SIZE[0])
    trainer = new_trainer(learner, clips, 2, folder, learning_rate=learning_rate)
    return train(trainer, Limit(steps=12, interval=3), quiet)


def test_training_learns_and_its_log_and_summary_say_so(tmp_path: Path) -> None:
    rows, still = trained(tmp_path / "a", 4e-3), trained(tmp_path / "b", 0.0)
    assert rows[-1]["loss"] < 0.9 * still[-1]["loss"], "on the same examples, under the same noise"
    log = (tmp_path / "a" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in log] == rows
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    told = summary(rows)
    assert (told["loss_first"], told["loss_last"]) == (rows[0]["loss"], rows[-1]["loss"])
    assert told["growth_megabytes"] == 0  # of a GPU's memory, which is not used here
    assert told["samples_per_second"] > 0
    assert all(0.01 < row["resident_gigabytes"] < 100 for row in rows)


def test_memory_that_grows_is_told_of_from_the_second_line_on() -> None:
    steady = {"loss": 1.0, "mask": 0.5, "samples_per_second": 2.0, "peak_gigabytes": 40.0}
    rows = [
        {**steady, "step": n, "gigabytes": 30 + 0.002 * n, "resident_gigabytes": 5 + 0.25 * n}
        for n in range(1, 6)
    ]
    rows[0]["gigabytes"] = 10.0  # before the optimiser has its moments
    told = summary(rows)
    assert told["growth_megabytes"] == 6
    assert told["resident_growth_megabytes"] == 750
    assert summary(rows[:1])["resident_growth_megabytes"] == 0


def test_a_saved_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    clips = random_clips(2, LENGTH, LATENT[1])
    for step in (1, 2):
        torch.manual_seed(0)
        learner = Learner(tiny_networks(), tiny_text())
        trainer = new_trainer(learner, clips, 2, tmp_path)
        assert train(trainer, Limit(steps=1, interval=1), quiet)[0]["step"] == step
        trainer.save()


def test_without_a_gpu_it_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["full_size_training"])
    with pytest.raises(SystemExit, match="needs a CUDA device, and there is none here"):
        full_size_training.main()
