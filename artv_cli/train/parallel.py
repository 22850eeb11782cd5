"""Data-parallel training over processes: gradients averaged once a step.

Started by `torchrun`, every process draws its own share of a batch and all keep the same weights.
On a CPU two processes of one thread each train faster than one of two threads whenever anything
else runs on the machine. Without `torchrun` there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def join() -> tuple[int, int]:
    """Join the group that `torchrun` set up; return this process's rank and their number."""
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        torch.set_num_threads(1)
        dist.init_process_group("gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def agree(value: float) -> float:
    """Return the first process's value in all of them."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(shared, 0)
    return shared.item()
