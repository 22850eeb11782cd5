"""Where a training's numbers have run out: whether its weights are still good, what to do."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from artv_cli.errors import ArtvError
from artv_cli.train.parallel import agree


def are_finite(module: nn.Module, device: torch.device) -> bool:
    """Tell whether every weight is a number, in all processes; each must ask."""
    pieces = (getattr(p, "to_local", lambda p=p: p)() for p in module.parameters())
    has_others = not all(bool(piece.isfinite().all()) for piece in pieces)
    return not agree(float(has_others), device)


def divergence(
    step: int, loss: Tensor, norm: Tensor, state: Path, *, is_good: bool, bfloat16: bool
) -> ArtvError:
    """Return what to tell of a loss or a gradient that is no number.

    `is_good`: the weights before this step are finite. `state`: where they, or those of some step
    before, are kept, if the file is there.
    """
    kept = f"The last good state is in {state}" if state.exists() else "No state was kept"
    if not is_good:
        advice = "lower the learning rate and run again."
    else:  # those weights and the next examples are given: a lower rate would change neither
        precise = "set `precision: fp32` and run again; if that is not enough, " * bfloat16
        advice = f"{precise}begin anew with a lower learning rate, in another --out."
    return ArtvError(
        f"the loss is {loss.item()} and the gradients have norm {norm.item()} at step {step}",
        f"{kept}: {advice}",
    )
