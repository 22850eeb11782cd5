"""A training's progress: the rows of its log, and each as one line."""

from __future__ import annotations

import json
from typing import Any

from artv_cli.console import duration

Row = dict[str, Any]


def row_of(step: int, samples: int, loss: float, mask: float, seconds: float) -> Row:
    """Return what a row of the log holds; `loss` and `mask` are means since the row before."""
    means = {"loss": round(loss, 5), "mask": round(mask, 4)}
    return {"step": step, "samples": samples, **means, "seconds": round(seconds, 1)}


def print_row(row: Row) -> None:
    """Print a row of the log as one line of JSON."""
    print(json.dumps(row), flush=True)


def line(row: Row, first: int, samples: int) -> str:
    """Return what a row of the log says; this run began at example `first` of `samples`."""
    rate = (row["samples"] - first) / max(row["seconds"], 1e-9)
    left = (samples - row["samples"]) / max(rate, 1e-9)
    return (
        f"step {row['step']}: loss {row['loss']:.4f}, mask {row['mask']:.2f},"
        f" {rate:.2f} examples a second, {duration(left)} left"
    )
