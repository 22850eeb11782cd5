"""Activations computed anew: the same gradients, and less that is kept."""

from __future__ import annotations

import torch
from tiny import LATENT, TEXT_WIDTH, TOKENS, noise, tiny_networks, wake
from torch import Tensor

from artv_cli.model.artv import ArtV
from artv_cli.train.activations import checkpoint_activations


def gradients_and_bytes(networks: ArtV) -> tuple[list[Tensor], int]:
    """Return all gradients of one pass, and the bytes that it kept for them."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    ids = torch.tensor([500, 20])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        text = networks.prepare_text(noise(2, TOKENS, TEXT_WIDTH))
        frames = noise(2, 2 * LATENT[0], *LATENT[1:]), noise(2, *LATENT)
        mask, dynamic = networks(noise(2, *LATENT), ids, networks.prepare(*frames, text, ids))
    (mask.sum() + dynamic.square().sum()).backward()
    return [p.grad for p in networks.parameters() if p.grad is not None], kept


def test_gradients_are_the_same_and_less_is_kept() -> None:
    results = []
    for anew in (False, True):
        torch.manual_seed(0)
        networks = tiny_networks()
        wake(networks)
        if anew:
            checkpoint_activations(networks)
        results.append(gradients_and_bytes(networks))
    (plain, much), (recomputed, little) = results
    assert len(plain) == len(recomputed) > 0
    for one, other in zip(plain, recomputed, strict=True):
        torch.testing.assert_close(one, other)
    assert little < 0.7 * much
