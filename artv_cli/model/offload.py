"""Networks larger than a device: what is not at work waits in main memory.

The same kernels see the same weights on the same device, so offloading changes no bit of a frame;
it is in no frame's key.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import cpu_offload
from accelerate.hooks import ModelHook, add_hook_to_module
from torch import nn

from artv_cli.model.weights import Model
from artv_cli.settings import Offload


class TakeTurns(ModelHook):
    """Keeps one part at a time on the device: whoever is used comes, whoever was there leaves."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.present: nn.Module | None = None

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if self.present is not module:
            if self.present is not None:
                self.present.to("cpu")
            module.to(self.device)
            self.present = module
        return args, kwargs


def offload(model: Model, how: Offload, device: str) -> None:
    """Let the parts of a model, loaded into main memory, come to `device` only when they work.

    "model": the text encoder, both networks and the autoencoder take turns: a few percent slower.
    "sequential": each layer comes alone: many times slower, and in almost no memory.
    """
    parts = (model.text, model.networks, model.vae)
    if how == "model":
        turns = TakeTurns(device)
        for part in parts:
            add_hook_to_module(part, turns)
    elif how == "sequential":
        for part in parts:
            cpu_offload(part, torch.device(device))
