"""Frames drawn once more: which models are loaded for it (the rest is in `test_cli_cache.py`)."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from random import Random
from typing import Any

import pytest

from artv_cli import redraw as module
from artv_cli.cache.store import FrameStore
from artv_cli.redraw import DrawnFrame, Redrawing, redraw


class Loaded:
    """An engine, to see how long it is kept."""


class Models:
    """Opens engines, and refuses where one is kept already."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self._kept: weakref.WeakSet[Loaded] = weakref.WeakSet()

    def open(self, model: str, variant: str | None, dtype: str) -> Any:
        gc.collect()
        assert not self._kept and variant is None and dtype == "float32"
        self.opened.append(model)
        self._kept.add(engine := Loaded())
        return engine


def redrawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, models: Models, number: int,
            count: int, is_same: bool | None) -> Redrawing:  # fmt: skip
    """Draw `count` of so many frames again, of two models in turn."""
    made_of = {"dtype": "float32"}
    frames = [DrawnFrame("s", n, str(n), made_of, "ab"[n % 2], None) for n in range(number)]
    monkeypatch.setattr(module, "drawn_frames", lambda store: iter(frames))
    monkeypatch.setattr(module, "_is_same", lambda *_: is_same)
    store = FrameStore(tmp_path, warn=pytest.fail)
    return redraw(store, count, models.open, Random(1))


def test_one_model_is_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = Models()
    found = redrawn(monkeypatch, tmp_path, models, 40, 20, True)
    assert (len(found.same), found.different, found.foreign) == (20, (), 0)
    assert sorted(models.opened) == ["a", "b"]


def test_models_are_not_loaded_for_every_foreign_frame(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = Models()
    found = redrawn(monkeypatch, tmp_path, models, 400, 1, None)
    assert found == Redrawing((), (), 400)
    assert len(models.opened) < 12
