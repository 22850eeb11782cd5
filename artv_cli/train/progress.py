"""A training's progress, as one line."""

from __future__ import annotations

from artv_cli.console import duration
from artv_cli.train.loop import Row


def line(row: Row, first: int, samples: int) -> str:
    """Return what a row of the log says; this run began at example `first` of `samples`."""
    rate = (row["samples"] - first) / max(row["seconds"], 1e-9)
    left = (samples - row["samples"]) / max(rate, 1e-9)
    return (
        f"step {row['step']}: loss {row['loss']:.4f}, mask {row['mask']:.2f},"
        f" {rate:.2f} examples a second, {duration(left)} left"
    )
