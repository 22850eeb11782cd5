"""The proofs of `benchmarks/trust` can fail: where a promise is broken on purpose, they say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from PIL import ImageFile
from sample_storyboards import EVERYTHING

from artv_cli import keys
from artv_cli.cache import store
from artv_cli.files import output
from artv_cli.model import repository
from artv_cli.plan import make_plan
from artv_cli.storyboard import Storyboard
from benchmarks.trust import (
    bits,
    changes,
    drawn_mutations,
    images,
    limits,
    mutations,
    proof,
    storyboards,
    writers,
)
from benchmarks.trust.proof import Check, Row, prove, randoms

Checks = Callable[[int, Path], Iterator[Check]]


def broken(checks: Checks, folder: Path, count: int) -> str:
    """Return what a row says went wrong in so many proofs, be they held or broken."""
    with mock.patch.object(proof, "MAX_BROKEN", count):
        tally = prove(Row("", "", 0, 0, checks), count=count, seed=1, folder=folder)
    return "\n".join(tally.broken)


def test_images_that_are_known_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_by_paths(board: Any, model: Any, images: Any, **layers: Any) -> Any:
        return make_plan(board, model, {path: path for path in images}, **layers)

    monkeypatch.setattr(bits, "make_plan", plan_by_paths)
    told = broken(mutations.mutations, tmp_path, 20)
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

    assert "the same key, other bits" in broken(checks, tmp_path, 30)


def test_a_change_that_gives_back_what_was_there_is_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchanged(_: Any, case: changes.Case, *what: str) -> tuple[changes.Case, changes.Case, str]:
        return case, deepcopy(case), ""

    def checks(seed: int, folder: Path) -> Iterator[Check]:
        model = mutations.Weights(mutations._model_folder(folder / "model"))
        for rng in islice(randoms(seed), 9):
            yield partial(mutations._change_both_or_neither, rng, changes.some_case(rng), model)
        yield from islice(drawn_mutations.drawn_mutations(seed, folder), 1)

    monkeypatch.setattr(mutations, "change", unchanged)
    monkeypatch.setattr(mutations, "change_picture", unchanged)
    monkeypatch.setattr(drawn_mutations, "VALUES", {"Segment.prompt": ("a rocket flies",)})
    tally = prove(Row("", "", 0, 0, checks), count=None, seed=1, folder=tmp_path)
    assert tally.is_all and (tally.held, tally.broken) == (0, ())


def test_changes_are_told_apart_by_whether_the_key_went_with_them(tmp_path: Path) -> None:
    row = Row("", "", 0, 0, mutations.mutations)
    tally = prove(row, count=30, seed=1, folder=tmp_path)
    assert set(tally.kinds) == {"with another key", "with the same key"}
    assert sum(tally.kinds.values()) == tally.held == 30 and min(tally.kinds.values()) > 5


def test_a_key_without_what_only_a_real_model_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn_mutations, "VALUES", {"Settings.noise_level": (0,)})
    drawn = keys._drawn
    monkeypatch.setattr(keys, "_drawn", lambda request: drawn(request) | {"noise level": 0})
    assert "the same key, other bits" in broken(drawn_mutations.drawn_mutations, tmp_path, 1)


def test_a_parser_that_takes_memory_after_another_that_took_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [b"\1" * 60_000 for _ in range(2000)]
    del pieces[:-1]  # 120 MB that malloc keeps, since what came last is still held
    monkeypatch.setattr(storyboards, "MAX_MEGABYTES", 50)
    monkeypatch.setattr(storyboards, "_expect_places", lambda *_: bytearray(b"\1" * 40_000_000))
    assert "MB for" in broken(storyboards.storyboards, tmp_path, 3)


def test_a_refusal_that_names_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storyboard, "at", lambda *_: "")
    monkeypatch.setattr(storyboards, "FAMILIES", (lambda _: EVERYTHING,))
    assert "has no place" in broken(storyboards.storyboards, tmp_path, 1)


def test_a_picture_that_is_shown_though_its_end_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "part is missing" in broken(images_cut_off, tmp_path, 20)


def images_cut_off(seed: int, _: Path) -> Iterator[Check]:
    for rng in randoms(seed):
        yield partial(images._is_cut_off, rng)


def test_a_reader_that_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.1)
    monkeypatch.setattr(images, "read_image", lambda *_: time.sleep(60))
    assert "hangs: " in broken(images.images, tmp_path, 1)


def test_a_cache_that_nobody_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "sweep", lambda _: None)
    assert "are left" in broken(writers.writers, tmp_path, 1)


def test_an_output_that_is_swept_too_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_FILMS", 1)
    monkeypatch.setattr(output, "is_abandoned", lambda *_: True)
    assert "writers of one film" in broken(writers.writers, tmp_path, 1)
