"""The measurements of Table 3, with a CPU in a GPU's place: what they run and what they report."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from diffusers import UNet3DConditionModel
from tiny import TEXT_WIDTH, tiny_networks, tiny_text, tiny_vae

from artv_cli.train.learner import Learner
from benchmarks import full_size, timing
from benchmarks.clips import random_clips
from benchmarks.full_size import artv_pass, modelscope_pass
from benchmarks.timing import attempt, measure_latency, measure_pass, measure_training


class Event:
    """A CUDA event by the wall clock."""

    def __init__(self, enable_timing: bool) -> None:
        self.time = 0.0

    def record(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return 1000 * (end.time - self.time)


@pytest.fixture(autouse=True)
def cpu_as_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000_000)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(full_size, "TEXT_WIDTH", TEXT_WIDTH)
    settings: dict[str, Any] = {
        "DEVICE": "cpu",
        "ROUND_SECONDS": 0.0,
        "MATRIX_SIDES": (8, 16),
        "TRAINING_STEPS": 1,
        "WARM_UP": 1,
        "ROUNDS": 2,
        "build_artv": tiny_networks,
        "build_autoencoder": tiny_vae,
        "build_text_encoder": tiny_text,
        "full_size_learner": lambda device: Learner(tiny_networks(), tiny_text()),
    }
    for name, value in settings.items():
        monkeypatch.setattr(timing, name, value)


def test_a_pass_has_a_time_a_peak_of_memory_and_a_matrix_rate_to_compare_with() -> None:
    cell = measure_pass(tiny_networks, partial(artv_pass, frames=2), 8, None)
    assert cell["gigabytes"] == 3
    assert 0 < cell["seconds"] < 60 and cell["matrix_rate"] > 0


def test_the_network_that_is_compared_with_convolves_over_time_and_has_a_pass_too() -> None:
    # Weights of five dimensions have no channels_last: asking it of them failed every such cell.
    build = partial(
        UNet3DConditionModel,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock3D",),
        up_block_types=("CrossAttnUpBlock3D",),
        block_out_channels=(32,),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
    )
    assert measure_pass(build, modelscope_pass, 8, None)["seconds"] > 0
    weights = [p for p in timing.on_device(build).parameters() if p.ndim == 4]
    assert weights and all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


def test_latency_is_of_a_whole_frame_sampled_as_in_the_paper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    networks = tiny_networks()
    networks.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    monkeypatch.setattr(timing, "build_artv", lambda: networks)
    monkeypatch.setattr(timing, "FRAMES_TIMED", 1)
    monkeypatch.setattr(timing, "PAPER_SAMPLING", replace(timing.PAPER_SAMPLING, steps=3))
    assert measure_latency(32, None)["seconds"] > 0
    assert calls == [4] * 5 * 2  # four guidance branches; one frame to warm up, one timed


def test_training_counts_the_samples_of_its_steps() -> None:
    cell = measure_training(random_clips(2, 6, 8), batch_size=2)
    assert cell["batch_size"] == 2 and cell["samples_per_second"] > 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to"), "out of memory"),
        (RuntimeError("no kernel\nfor this"), "failed: no kernel"),
        (ValueError("no such mode"), "failed: no such mode"),
        (AssertionError(), "failed: AssertionError"),
    ],
)
def test_a_measurement_that_fails_says_so_in_its_cell(error: Exception, told: str) -> None:
    def fail() -> timing.Cell:
        raise error

    assert attempt(fail) == {"error": told}
    assert attempt(lambda: {"seconds": 1.0}) == {"seconds": 1.0}
