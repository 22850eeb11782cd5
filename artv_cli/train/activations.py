"""Less memory for more time: activations that the backward pass computes anew."""

from __future__ import annotations

from functools import partial

from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.utils.checkpoint import checkpoint

from artv_cli.model.anchor import AnchorTransformer


def checkpoint_activations(networks: nn.Module) -> None:
    """Let the backward pass compute the largest activations anew instead of keeping them.

    Diffusers' own switch does nothing here, since the walk over a UNet's blocks is ours.
    """
    for module in networks.modules():
        if isinstance(module, ResnetBlock2D | FeedForward | AnchorTransformer):
            module.forward = partial(  # type: ignore[method-assign]
                checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False
            )
