"""Classifier-free guidance away from three blank conditions (Eq. 8).

The network is evaluated once with every condition and once without each condition that is guided:
its branches. Eq. 8's weights sum to one, so it may work on noise or, as here, on denoised latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

import torch
from torch import Tensor

from artv_cli.settings import Guidance


class Branch(Enum):
    """One evaluation of the network: with every condition, or with one of them blank."""

    FULL = auto()
    NO_REFERENCE = auto()
    NO_ANCHOR = auto()
    NO_TEXT = auto()


def guidance_branches(
    guidance: Guidance, *, has_reference: bool, has_anchor: bool
) -> tuple[Branch, ...]:
    """Return the branches that can change the result, `FULL` first.

    A branch whose scale is 0, or whose condition is blank anyway, does not run.
    """
    blank = {Branch.NO_REFERENCE: not has_reference, Branch.NO_ANCHOR: not has_anchor}
    guided = (
        branch
        for branch, scale in _scales(guidance).items()
        if scale != 0 and not blank.get(branch, False)
    )
    return (Branch.FULL, *guided)


def guide(
    outputs: Sequence[Tensor],
    branches: Sequence[Branch],
    guidance: Guidance,
    *,
    limit: float | None = None,
) -> Tensor:
    """Return `full + sum of scale * (full - blank)` over the guided branches (Eq. 8).

    `outputs`: one tensor per branch, all of one shape, `FULL` first. `limit` bounds how far, value
    by value, the result may lie from the full branch.
    """
    full, *others = outputs
    scales = _scales(guidance)
    push = torch.zeros_like(full)
    for branch, other in zip(branches[1:], others, strict=True):
        push = push + scales[branch] * (full - other)
    return full + (push if limit is None else push.clamp(-limit, limit))


def _scales(guidance: Guidance) -> dict[Branch, float]:
    return {
        Branch.NO_REFERENCE: guidance.reference,
        Branch.NO_ANCHOR: guidance.anchor,
        Branch.NO_TEXT: guidance.text,
    }
