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
    """Return `full + sum of scale * (full - blank)` over the guided branches (Eq. 8), rescaled.

    `outputs`: one tensor per branch, all (b, ...), `FULL` first. `limit` bounds how far, value by
    value, the push may go from the full branch, before it is rescaled.
    """
    full, *others = outputs
    scales = _scales(guidance)
    push = torch.zeros_like(full)
    for branch, other in zip(branches[1:], others, strict=True):
        push = push + scales[branch] * (full - other)
    guided = full + (push if limit is None else push.clamp(-limit, limit))
    if not others or guidance.rescale == 0:
        return guided
    # The limit comes first: the few wild values that it cuts would else dim the whole frame.
    return rescale(guided, full, guidance.rescale)


def rescale(guided: Tensor, full: Tensor, share: float) -> Tensor:
    """Return `guided` with its deviation brought back, by `share`, to that of `full`.

    Both (b, ...); the deviation is each sample's own, over all of its other dimensions. Rescaled
    is what is guided, here latents denoised to y_0 and so the picture's own contrast, where arXiv
    2305.08891 (Sec. 3.4) rescales the network's output, v; it blends the two by `share` (0-1) as
    here. A sample without any deviation stays as it is.
    """
    dims = tuple(range(1, full.ndim))
    deviation = guided.std(dims, keepdim=True)
    ratio = torch.where(deviation > 0, full.std(dims, keepdim=True) / deviation, 1)
    return guided * (1 + share * (ratio - 1))


def _scales(guidance: Guidance) -> dict[Branch, float]:
    return {
        Branch.NO_REFERENCE: guidance.reference,
        Branch.NO_ANCHOR: guidance.anchor,
        Branch.NO_TEXT: guidance.text,
    }
