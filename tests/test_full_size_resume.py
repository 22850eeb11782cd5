"""The full-size training that is stopped and gone on with, at tiny size, where it runs on a CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny import LATENT, tiny_networks, tiny_text

from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from benchmarks import full_size_resume
from benchmarks.clips import random_clips
from benchmarks.full_size_resume import differences
from benchmarks.full_size_training import new_trainer


def new(folder: Path) -> Trainer:
    torch.manual_seed(0)
    learner = Learner(tiny_networks(), tiny_text())
    learner.text.requires_grad_(False)
    return new_trainer(learner, random_clips(2, 6, LATENT[1]), 2, folder)


def test_on_a_cpu_nothing_differs_and_what_does_is_named(tmp_path: Path) -> None:
    differing, count = differences(lambda: new(tmp_path / "same"), 1)
    assert not differing and count == len(list(full_size_resume._state(new(tmp_path / "same"))))

    def careless() -> Trainer:
        trainer = new(tmp_path / "other")
        if trainer.step:
            next(iter(trainer.average.weights.values())).add_(1e-7)
        return trainer

    assert [name.partition("/")[0] for name in differences(careless, 1)[0]] == ["average"]
    with pytest.raises(SystemExit, match="the state of another training"):
        differences(careless, 1)


def test_without_a_gpu_it_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["full_size_resume"])
    with pytest.raises(SystemExit, match="needs a CUDA device, and there is none here"):
        full_size_resume.main()
