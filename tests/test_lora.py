"""Small matrices beside the weights: `test_session` trains them, here is how they start."""

from __future__ import annotations

import torch
from tiny import tiny_networks
from torch import Tensor

from artv_cli.train.lora import add_adapter
from artv_cli.train.training_recipe import LoraForm


def start(seed: int) -> dict[str, Tensor]:
    networks = tiny_networks()
    add_adapter(networks, LoraForm(rank=2), seed)
    return {name: p for name, p in networks.named_parameters() if "lora_" in name}


def test_the_seed_alone_decides_how_matrices_start() -> None:
    torch.manual_seed(1)
    one = start(7)
    torch.manual_seed(2)
    again = start(7)
    other = start(8)
    assert one and all(torch.equal(weight, again[name]) for name, weight in one.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in one.items())
