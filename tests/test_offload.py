"""Offloading: who is not at work is not on the device, and no bit of a frame changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import PREFERENCES, SIZE, noise, tiny_folder, tiny_model
from torch import nn

from artv_cli.artv_engine import ArtvEngine, load_engine
from artv_cli.engine import FrameRequest
from artv_cli.keys import CLASSIFIED
from artv_cli.latents import Latents
from artv_cli.model import attention
from artv_cli.model.folder import find_model
from artv_cli.model.offload import TakeTurns, offload

REQUEST = FrameRequest("the cat walks", seed=1, size=SIZE, sampling=PREFERENCES.sampling)


def work(engine: ArtvEngine) -> list[Any]:
    """Return what an engine makes of a little of everything."""
    picture = engine.encode(np.full((*SIZE, 3), 90, np.uint8))
    key = engine.key_frame(REQUEST)
    following = engine.next_frame(replace(REQUEST, seed=2), (key, picture), picture)
    frames: list[Latents] = [picture, key, following]
    return [*frames, *(engine.decode(frame).tobytes() for frame in frames)]


@pytest.mark.parametrize("how", ["model", "sequential"])
def test_an_offloaded_model_draws_the_same_bits(how: Any) -> None:
    """The real hooks, with the cpu as the device; a second round finds everything moved before."""
    model = tiny_model()
    offload(model, how, "cpu")
    engine = ArtvEngine(model, "f" * 64)
    expected = work(ArtvEngine(tiny_model(), "f" * 64))
    assert work(engine) == expected
    assert work(engine) == expected


def test_layer_by_layer_no_weight_stays_on_the_device() -> None:
    model = tiny_model()
    offload(model, "sequential", "cpu")
    work(ArtvEngine(model, "f" * 64))
    for part in (model.networks, model.vae, model.text):
        assert all(parameter.is_meta for parameter in part.parameters())


def test_parts_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both networks work side by side in every step, so they come and go together."""
    model = tiny_model()
    names = {id(model.text): "text", id(model.networks): "networks", id(model.vae): "vae"}
    moves: list[str] = []
    to = nn.Module.to

    def move(self: nn.Module, device: Any, *more: Any, **how: Any) -> nn.Module:
        if id(self) in names:
            moves.append(f"{names[id(self)]} {'leaves' if device == 'cpu' else 'comes'}")
        return to(self, "cpu")

    for kind in {type(part) for part in (model.text, model.networks, model.vae)}:
        monkeypatch.setattr(kind, "to", move)
    offload(model, "model", "meta")  # a name other than cpu: `move` goes nowhere
    engine = ArtvEngine(model, "f" * 64)
    key = engine.key_frame(REQUEST)
    engine.decode(key)
    assert moves == [
        "text comes", "text leaves", "networks comes",  # the empty prompt
        "networks leaves", "text comes", "text leaves", "networks comes",  # the prompt
        "networks leaves", "vae comes",
    ]  # fmt: skip


def test_a_part_at_work_is_not_moved_again() -> None:
    turns, part = TakeTurns("cpu"), nn.Linear(1, 1)
    moved: list[str] = []
    part.to = lambda device: moved.append(device)  # type: ignore[assignment,method-assign]
    for _ in range(3):
        turns.pre_forward(part)
    assert moved == ["cpu"]


def test_offloading_is_in_no_frames_key() -> None:
    assert CLASSIFIED["Settings"]["offload"] == "not in the key"


def test_on_a_cpu_offloading_does_nothing_and_says_so(tmp_path: Path) -> None:
    warned: list[str] = []
    model = find_model(str(tiny_folder(tmp_path)))
    engine = load_engine(model, device="cpu", offload="sequential", warn=warned.append)
    assert len(warned) == 1 and "--offload does nothing on a cpu" in warned[0]
    assert not any(parameter.is_meta for parameter in engine._model.networks.parameters())


# ---------------------------------------------------------------- slices


def test_a_batch_taken_row_by_row_attends_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query, keys, values = (noise(4, 2, 64, 16, seed=seed) for seed in range(3))
    with torch.inference_mode():
        whole = attention._attention(query, keys, values, upcast=False)
        monkeypatch.setattr(attention, "UNFUSED", {"cpu"})
        rows = attention._attention(query, keys, values, upcast=False)
    torch.testing.assert_close(rows, whole)
    assert rows.shape == (4, 2, 64, 16)
