"""The proofs of `benchmarks/trust` can fail: where a promise is broken on purpose, they say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from artv_cli import keys
from artv_cli.model import repository
from artv_cli.plan import make_plan
from benchmarks.trust import bits, changes, drawn_mutations, mutations
from benchmarks.trust.proof import Check, Row, prove, randoms

Checks = Callable[[int, Path], Iterator[Check]]


def broken(checks: Checks, folder: Path, count: int) -> str:
    """Return what a row says went wrong in so many proofs."""
    return "\n".join(prove(Row("", "", 0, 0, checks), count=count, seed=1, folder=folder).broken)


def test_images_that_are_known_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_by_paths(board: Any, model: Any, images: Any, **layers: Any) -> Any:
        return make_plan(board, model, {path: path for path in images}, **layers)

    monkeypatch.setattr(bits, "make_plan", plan_by_paths)
    told = broken(mutations.mutations, tmp_path, 45)
    assert "the same key, other bits" in told and "the same bits, another key" in told


def test_weights_whose_vocabulary_nobody_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "CONFIGS", (".txt", ".model"))

    def checks(seed: int, folder: Path) -> Iterator[Check]:
        model = mutations._model_folder(folder / "model")
        for rng in randoms(seed):
            case = changes.some_case(rng)
            yield partial(mutations._weights_change_both_or_neither, rng, case, model)

    assert "went unseen" in broken(checks, tmp_path, 30)


def test_a_key_without_what_only_a_real_model_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn_mutations, "VALUES", {"Settings.noise_level": (0,)})
    drawn = keys._drawn
    monkeypatch.setattr(keys, "_drawn", lambda request: drawn(request) | {"noise level": 0})
    assert "the same key, other bits" in broken(drawn_mutations.drawn_mutations, tmp_path, 1)
