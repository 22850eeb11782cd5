"""Table 3 as Markdown: what was counted, what was measured, and the paper's figures beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

Cell = dict[str, Any]

NAMES = {
    "modelscope": "ModelScope UNet3D",
    "artv": "ART·V",
    "artv-step": "ART·V, conditions prepared before",
    "artv-frame": "ART·V, one frame",
}
PAPER_SIZES = (320, 448, 768)
PAPER_MACS = {
    "modelscope": (3689.72, 7201.22, 21100.92),
    "artv": (3163.20, 6162.88, 18036.96),
}  # G, 16 frames
PAPER_BATCHES = {"modelscope": (7.87, 3.43, 0.78), "artv": (12.16, 5.55, 1.35)}  # a second
PAPER_MEMORY = {"modelscope": (10.91, 16.67, 75.08), "artv": (10.52, 11.08, 13.44)}  # GB

INTRODUCTION = """\
# Table 3: what ART·V costs

Written by `python -m benchmarks.table3`; the numbers themselves are in `table3.json`. Both networks
have random weights. A pass is one evaluation for a batch of 16 frames: ModelScope's takes them as
one video, ART·V's as 16 frames each with its own references, anchor and prompt, whose preparation
counts. "Conditions prepared before" is what a denoising step costs in artv, which prepares them
once per frame; "one frame" is a pass for one frame alone.
"""
COUNTING = """\
The paper's unit is the multiply-accumulate as the `thop` package counts it: convolutions and
linear layers, 4 for each value into a LayerNorm, 1 for each out of an average pool; attention is
free. The true count holds the products alone, with those of attention. G MAC for 16 frames (one
frame: for one):
"""
TIMING = """\
bf16, channels_last; GB are 10^9 bytes, the peak of torch's allocator with the weights in it; the
share is twice the true count over the time, of the fastest square matrix product that the same
run reached{rates}. The paper's were taken on an A100 with 80 GB.
"""
LATENCY = """\
One frame, from prepared latents to pixels: DPM++ 2S ancestral, 50 steps (99 evaluations), all four
guidance branches in one batch, decoder included.
"""
TRAINING = """\
One step of the paper's recipe (both networks, bf16 autocast, AdamW, EMA; the text encoder runs,
frozen), without gradient checkpointing.
"""


@dataclass
class Results:
    """What is known: the CUDA device (None: there was none), torch's version, cells by key."""

    device: str | None
    torch: str
    cells: dict[str, Cell]


def device_name() -> str | None:
    """Return the name of the CUDA device that there is."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def markdown(results: Results) -> str:
    """Return the whole page."""
    sizes = sorted({int(k.split("/")[0].split("-")[1]) for k in results.cells if "-" in k})
    return "\n".join(
        [
            INTRODUCTION,
            f"torch {results.torch}; {results.device or 'no CUDA device'}.\n",
            "## Counted\n",
            COUNTING,
            _counts(results, sizes),
            "## Measured\n",
            TIMING.format(rates=_rates(results)),
            _timings(results, sizes),
            "## Latency\n",
            LATENCY,
            _latencies(results, sizes),
            "## Training\n",
            TRAINING,
            _training(results),
        ]
    )


def _counts(results: Results, sizes: list[int]) -> str:
    heads = ["", "parameters", *_each("paper's count", sizes), *_each("true count", sizes)]
    rows = []
    for key, name in NAMES.items():
        cells = [results.cells.get(f"count-{size}/{key}") for size in sizes]
        known = next((cell["parameters"] for cell in cells if cell), None)
        parameters = "not counted" if known is None else f"{known:,}"
        counts = [
            "not counted" if cell is None else f"{cell[kind] / 1e9:.2f}"
            for kind in ("paper", "true")
            for cell in cells
        ]
        rows.append([name, parameters, *counts])
        if key in PAPER_MACS:
            rows.append([_theirs(key), "", *_paper(PAPER_MACS[key], sizes), *[""] * len(sizes)])
    return _table(heads, rows)


def _timings(results: Results, sizes: list[int]) -> str:
    heads = ["", *_each("batches/s", sizes), *_each("GB", sizes), *_each("share", sizes)]
    rows = []
    for key, name in _variants(results, "timing"):
        found = [
            (results.cells.get(f"timing-{s}/{key}"), results.cells.get(f"count-{s}/{_base(key)}"))
            for s in sizes
        ]
        rows.append(
            [
                name,
                *(_show(results, cell, lambda c: f"{1 / c['seconds']:.2f}") for cell, _ in found),
                *(_show(results, cell, lambda c: f"{c['gigabytes']:.2f}") for cell, _ in found),
                *(_show(results, cell, _share(counted)) for cell, counted in found),
            ]
        )
        if key in PAPER_BATCHES:
            paper = [*_paper(PAPER_BATCHES[key], sizes), *_paper(PAPER_MEMORY[key], sizes)]
            rows.append([_theirs(key), *paper, *[""] * len(sizes)])
    return _table(heads, rows)


def _latencies(results: Results, sizes: list[int]) -> str:
    rows = []
    for key, name in _variants(results, "latency"):
        cells = [results.cells.get(f"latency-{size}/{key}") for size in sizes]
        seconds = [_show(results, cell, lambda c: f"{c['seconds']:.2f}") for cell in cells]
        memory = [_show(results, cell, lambda c: f"{c['gigabytes']:.2f}") for cell in cells]
        rows.append([name, *seconds, *memory])
    return _table(["", *_each("seconds", sizes), *_each("GB", sizes)], rows)


def _training(results: Results) -> str:
    prefix = "training/"
    cells: dict[str, Cell | None] = {
        key.removeprefix(prefix): cell
        for key, cell in results.cells.items()
        if key.startswith(prefix)
    }
    rows = [
        [
            f"ART·V at {size}²",
            _show(results, cell, lambda c: str(c["batch_size"])),
            _show(results, cell, lambda c: f"{c['samples_per_second']:.1f}"),
            _show(results, cell, lambda c: f"{c['gigabytes']:.1f}"),
        ]
        for size, cell in (cells or {"320": None}).items()
    ]
    return _table(["", "batch", "samples/s", "GB"], rows)


def _variants(results: Results, group: str) -> list[tuple[str, str]]:
    """Return (key, name) of the rows of a table: the known networks, compiled ones after."""
    plain = ["artv"] if group == "latency" else list(NAMES)
    there = {k.split("/", 1)[1] for k in results.cells if k.startswith(f"{group}-")}
    compiled = sorted(key for key in there if "/" in key)
    named = [(key, f"{NAMES[_base(key)]}, {key.split('/')[1]}") for key in compiled]
    return [*((key, NAMES[key]) for key in plain), *named]


def _base(key: str) -> str:
    return key.split("/")[0]


def _share(counted: Cell | None) -> Callable[[Cell], str]:
    def show(cell: Cell) -> str:
        if counted is None:
            return "not counted"
        return f"{2 * counted['true'] / cell['seconds'] / cell['matrix_rate']:.0%}"

    return show


def _show(results: Results, cell: Cell | None, value: Callable[[Cell], str]) -> str:
    if cell is None:
        return "not measured" + ("" if results.device else " (no CUDA device)")
    return str(cell["error"]) if "error" in cell else value(cell)


def _rates(results: Results) -> str:
    rates = [cell["matrix_rate"] / 1e12 for cell in results.cells.values() if "matrix_rate" in cell]
    return f" ({min(rates):.0f} to {max(rates):.0f} TFLOP/s)" if rates else ""


def _paper(figures: tuple[float, ...], sizes: list[int]) -> list[str]:
    known = dict(zip(PAPER_SIZES, figures, strict=True))
    return [f"{known[size]:.2f}" if size in known else "" for size in sizes]


def _theirs(key: str) -> str:
    return f"*{NAMES[key]}, the paper's figures*"


def _each(what: str, sizes: list[int]) -> list[str]:
    return [f"{what} at {size}²" for size in sizes]


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
