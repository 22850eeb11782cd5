"""The costs of the paper's Table 3, counted to its last digit without memory for a weight."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import TEXT_WIDTH, tiny_networks
from torch import nn

from benchmarks import full_size, table3
from benchmarks.counting import count
from benchmarks.full_size import artv_pass, artv_step, wake
from benchmarks.report import Results, markdown
from benchmarks.table3 import CONTENDERS, all_pieces, choose, count_cost, load

ROUNDING = 0.005  # of a figure with two digits


@cache
def cost_of(name: str, size: int) -> dict[str, Any]:
    """Return what a pass of a contender costs at so many pixels: counting takes seconds."""
    return count_cost(CONTENDERS[name], size)


@pytest.fixture
def tiny_text_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_size, "TEXT_WIDTH", TEXT_WIDTH)


# ---------------------------------------------------------------- the published counts


@pytest.mark.parametrize(
    ("name", "size", "paper", "true"),
    [
        ("modelscope", 320, 3689.72, 3853.9),
        ("modelscope", 448, 7201.22, 7804.4),
        ("modelscope", 768, 21100.92, 26146.6),
        ("artv", 320, 3163.07, 3533.5),
        ("artv", 448, 6162.90, 7564.3),
        ("artv", 768, 18037.24, 30010.6),
    ],
)
def test_a_pass_costs_what_the_paper_counts(
    name: str, size: int, paper: float, true: float
) -> None:
    cost = cost_of(name, size)
    assert abs(cost["paper"] / 1e9 - paper) < ROUNDING
    assert abs(cost["true"] / 1e9 - true) < 0.05


def test_both_contenders_have_their_published_numbers_of_parameters() -> None:
    assert cost_of("modelscope", 320)["parameters"] == 1_411_233_860
    assert cost_of("artv", 320)["parameters"] == 1_167_694_948 + 51_184_289


def test_conditions_prepared_before_save_what_the_counts_say() -> None:
    whole, step = (cost_of(name, 320)["paper"] for name in ("artv", "artv-step"))
    assert 1 - step / whole == pytest.approx(0.096, abs=5e-4)


# ---------------------------------------------------------------- the counting itself


def test_layers_count_their_products_and_norms_and_pools_what_thop_counts() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.AvgPool2d(2), nn.GroupNorm(2, 6), nn.SiLU()
    )
    head = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 5))
    whole = nn.ModuleList([network, head])
    cost = count(whole, lambda: head(network(torch.zeros(2, 4, 8, 8)).flatten(2).transpose(1, 2)))
    assert cost.products == 2 * 6 * 64 * (2 * 9) + 2 * 16 * 5 * 6
    assert cost.rest == 2 * 6 * 16 + 4 * 2 * 16 * 6
    assert cost.attention == 0


def test_attention_counts_both_of_its_products() -> None:
    query, keys = torch.zeros(2, 3, 10, 8), torch.zeros(2, 3, 7, 8)
    cost = count(nn.Identity(), lambda: F.scaled_dot_product_attention(query, keys, keys))
    assert cost.attention == 2 * (2 * 3) * 10 * 7 * 8


# ---------------------------------------------------------------- passes


@pytest.mark.usefixtures("tiny_text_width")
@pytest.mark.parametrize("bind", [artv_pass, artv_step])
def test_a_pass_runs_on_every_frame(bind: Callable[..., full_size.Pass]) -> None:
    mask, dynamic = bind(tiny_networks(), 8, frames=3)()
    assert (mask.shape, dynamic.shape) == ((3, 1, 8, 8), (3, 4, 8, 8))


def test_awake_networks_hold_no_zeros() -> None:
    networks = tiny_networks()
    wake(networks)
    assert all(parameter.any() for parameter in networks.parameters())


# ---------------------------------------------------------------- the script


@pytest.fixture
def run_table3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    small = {"artv": CONTENDERS["artv"]}
    monkeypatch.setattr(table3, "CONTENDERS", small)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def run(*arguments: str) -> str:
        out = tmp_path / "table3.md"
        monkeypatch.setattr(sys, "argv", ["table3", "--out", str(out), *arguments])
        table3.main()
        return out.read_text()

    return run


def test_without_a_gpu_counts_are_written_and_times_say_that_they_are_missing(
    run_table3: Callable[..., str],
) -> None:
    page = run_table3("--sizes", "64")
    assert "1,218,879,237" in page
    assert "not measured (no CUDA device)" in page


def test_what_is_known_is_not_done_again_unless_named(
    run_table3: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, done in (([], True), ([], False), (["--only", "count-64"], True)):
        run_table3("--sizes", "64", *arguments)
        assert ("count-64/artv" in capsys.readouterr().out) is done


def test_what_failed_is_done_again_but_not_what_the_device_cannot_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    errors = {"modelscope": "failed: no kernel", "artv": "out of memory"}
    cells = {f"timing-64/{name}": {"error": error} for name, error in errors.items()}
    pieces = [piece for piece in all_pieces([64], None) if piece.key in cells]
    chosen = choose(pieces, [], False, Results("a card", "", cells))
    assert [piece.key for piece in chosen] == ["timing-64/modelscope"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "timing-1"], "no piece 'timing-1'"),
        (["--only", "count-320", "timing-320"], "timing-320 needs a CUDA device"),
        (["--sizes", "100"], "multiples of 64, and 100 is not"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(
    arguments: list[str],
    message: str,
    run_table3: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as refused:
        run_table3(*arguments)
    assert message in f"{refused.value} {capsys.readouterr().err}"


def test_times_of_another_device_are_forgotten_and_counts_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {"count-320/artv": {"true": 1}, "timing-320/artv": {"seconds": 1.0}}
    (tmp_path / "t.json").write_text(
        json.dumps({"device": "A", "torch": torch.__version__, "cells": cells})
    )
    for device, kept in ((None, 2), ("A", 2), ("B", 1)):
        monkeypatch.setattr(table3, "device_name", lambda device=device: device)
        assert len(load(tmp_path / "t.md").cells) == kept


@pytest.mark.parametrize(("device", "kept"), [(None, 2), ("A", 1)])
def test_times_of_another_torch_are_forgotten_and_counts_kept(
    device: str | None, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {"count-320/artv": {"true": 1}, "timing-320/artv": {"seconds": 1.0}}
    (tmp_path / "t.json").write_text(json.dumps({"device": "A", "torch": "2", "cells": cells}))
    monkeypatch.setattr(table3, "device_name", lambda: device)
    known = load(tmp_path / "t.md")
    assert len(known.cells) == kept
    assert known.torch == ("2" if "timing-320/artv" in known.cells else torch.__version__)


def test_the_table_shows_times_memory_shares_and_what_ran_out_of_memory() -> None:
    counted = {"parameters": 7, "paper": 2e12, "true": 3e12}
    timed = {"seconds": 0.02, "gigabytes": 4.5, "matrix_rate": 600e12}
    page = markdown(
        Results(
            "a card",
            "2.13",
            {
                "count-320/artv": counted,
                "timing-320/artv": timed,
                "timing-320/artv/compiled default": {**timed, "seconds": 0.0125},
                "timing-320/modelscope": {"error": "out of memory"},
                "latency-320/artv": {"seconds": 2.5, "gigabytes": 3.0},
                "training/320": {"samples_per_second": 99.0, "gigabytes": 70.0, "batch_size": 16},
            },
        )
    )
    assert "| ART·V | 50.00 | 4.50 | 50% |" in page
    assert "| ART·V, compiled default | 80.00 | 4.50 | 80% |" in page
    assert "| ModelScope UNet3D | out of memory | out of memory | out of memory |" in page
    assert "| ART·V | 2.50 | 3.00 |" in page
    assert "| ART·V at 320² | 16 | 99.0 | 70.0 |" in page
    assert "(600 to 600 TFLOP/s)" in page
