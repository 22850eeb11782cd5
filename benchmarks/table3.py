"""The paper's Table 3: what ART·V costs beside ModelScope's UNet3D, measured side by side.

Both networks have random weights and run on the same machine in the same run. The counting part
runs anywhere; the timing part needs a CUDA device::

    python -m benchmarks.table3 --count-only
    python -m benchmarks.table3                          # whatever is still missing
    python -m benchmarks.table3 --only timing-320        # one piece anew; all take minutes at most
    python -m benchmarks.table3 --only timing-320 --compile

Every finished piece is kept in a JSON file beside the Markdown, so that a run goes on where the
last one stopped; on another device, or with another torch, the times start afresh. A cell that runs
out of memory says so; one that failed in another way does too, and is measured again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from artv_cli.files.output import write_text
from benchmarks.clips import random_clips
from benchmarks.counting import count
from benchmarks.full_size import (
    PIXELS_PER_LATENT,
    Pass,
    artv_pass,
    artv_step,
    build_artv,
    build_modelscope,
    modelscope_pass,
)
from benchmarks.report import Results, device_name, markdown
from benchmarks.timing import (
    FAILED,
    Cell,
    attempt,
    measure_latency,
    measure_pass,
    measure_training,
)

SIZES = (320, 448, 768)
TRAINING_BATCH = 16


@dataclass(frozen=True)
class Contender:
    """A network and what one pass of it is."""

    build: Callable[[], nn.Module]
    bind: Callable[[nn.Module, int], Pass]


CONTENDERS = {
    "modelscope": Contender(build_modelscope, modelscope_pass),
    "artv": Contender(build_artv, artv_pass),
    "artv-step": Contender(build_artv, artv_step),
    "artv-frame": Contender(build_artv, partial(artv_pass, frames=1)),
}


@dataclass(frozen=True)
class Piece:
    """One measurement: `key` names its cell, which belongs to `group`, as `--only` says it."""

    group: str
    key: str
    needs_cuda: bool
    measure: Callable[[], Cell]


def count_cost(contender: Contender, size: int) -> Cell:
    """Return parameters and multiply-accumulates of a pass at `size` pixels, without memory."""
    with torch.device("meta"):
        network = contender.build()
    cost = count(network, contender.bind(network, size // PIXELS_PER_LATENT))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": parameters, "paper": cost.paper, "true": cost.true}


def all_pieces(sizes: list[int], compile_mode: str | None) -> list[Piece]:
    """Return the counts, then the timings, size by size."""
    suffix = "" if compile_mode is None else f"/compiled {compile_mode}"
    pieces = [
        Piece(f"count-{size}", f"count-{size}/{name}", False, partial(count_cost, it, size))
        for size in sizes
        for name, it in CONTENDERS.items()
    ]
    for size in sizes:
        side = size // PIXELS_PER_LATENT
        for name, it in CONTENDERS.items():
            measure = partial(measure_pass, it.build, it.bind, side, compile_mode)
            pieces.append(Piece(f"timing-{size}", f"timing-{size}/{name}{suffix}", True, measure))
        measure = partial(measure_latency, size, compile_mode)
        pieces.append(Piece(f"latency-{size}", f"latency-{size}/artv{suffix}", True, measure))
    if compile_mode is None:
        side = sizes[0] // PIXELS_PER_LATENT
        measure = partial(_training, side)
        pieces.append(Piece("training", f"training/{sizes[0]}", True, measure))
    return pieces


def choose(pieces: list[Piece], only: list[str], count_only: bool, known: Results) -> list[Piece]:
    """Return what is to be run here: the named groups, or else all that is still missing."""
    has_cuda = torch.cuda.is_available() and not count_only
    if only:
        named = [piece for piece in pieces if piece.group in only]
        if beyond := [piece.group for piece in named if piece.needs_cuda and not has_cuda]:
            raise SystemExit(f"{beyond[0]} needs a CUDA device, and there is none to be used.")
        return named
    possible = [piece for piece in pieces if has_cuda or not piece.needs_cuda]
    return [piece for piece in possible if count_only or not _is_done(piece, known)]


def run(pieces: list[Piece], results: Results, out: Path) -> None:
    """Run the pieces one by one; after each, all that is known is on the disk."""
    for piece in pieces:
        print(piece.key, flush=True)
        cell = attempt(piece.measure) if piece.needs_cuda else piece.measure()
        results.cells[piece.key] = cell
        print("  ", json.dumps(cell), flush=True)
        save(results, out)


def load(out: Path) -> Results:
    """Read what is known, without the times of other devices and other versions of torch."""
    device = device_name()
    file = out.with_suffix(".json")
    if not file.exists():
        return Results(device, torch.__version__, {})
    known = Results(**json.loads(file.read_text()))
    if device is None or (known.device, known.torch) == (device, torch.__version__):
        return known
    cells = {key: cell for key, cell in known.cells.items() if key.startswith("count-")}
    return Results(device, torch.__version__, cells)


def save(results: Results, out: Path) -> None:
    """Write the table and the numbers behind it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out.with_suffix(".json"), json.dumps(vars(results), indent=1) + "\n")
    write_text(out, markdown(results))


def _is_done(piece: Piece, known: Results) -> bool:
    """Tell whether a cell is there, were it only because the device cannot hold it."""
    cell = known.cells.get(piece.key)
    return cell is not None and not cell.get("error", "").startswith(FAILED)


def _training(side: int) -> Cell:
    return measure_training(random_clips(8, 14, side), TRAINING_BATCH)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the paper's Table 3.")
    parser.add_argument("--count-only", action="store_true", help="count anew, measure nothing")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="pixels each way")
    parser.add_argument(
        "--only", nargs="+", default=[], help="count-SIZE, timing-SIZE, latency-SIZE, training"
    )
    parser.add_argument(
        "--compile", nargs="?", const="default", metavar="MODE", help="measure torch.compile"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/table3.md"))
    options = parser.parse_args()
    if odd := [size for size in options.sizes if size < 64 or size % 64]:
        parser.error(f"sizes are multiples of 64, and {odd[0]} is not")
    return options


def main() -> None:
    """Run what is missing or named, and write the table."""
    options = _options()
    torch.backends.cudnn.benchmark = True
    results = load(options.out)
    pieces = all_pieces(options.sizes, options.compile)
    groups = list(dict.fromkeys(piece.group for piece in pieces))
    if unknown := [name for name in options.only if name not in groups]:
        raise SystemExit(f"There is no piece {unknown[0]!r}; there are {', '.join(groups)}.")
    run(choose(pieces, options.only, options.count_only, results), results, options.out)
    save(results, options.out)
    print(f"The table is in {options.out}.")


if __name__ == "__main__":
    main()
