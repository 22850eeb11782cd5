"""Data-parallel training over processes: gradients averaged once a step.

Started by `torchrun`, every process draws its own share of a batch and all keep the same weights.
On a CPU two processes of one thread each train faster than one of two threads whenever anything
else runs on the machine. Without `torchrun` there is one process, and nothing here does anything.

The networks' `Trainer` leaves this to accelerate (`accelerator_for`), which knows cards and many
machines as well; the small trainings on a CPU, of autoencoder and judge, average by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType
from torch import Tensor, nn

from artv_cli.errors import UsageError

REPLICATED = {
    DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU,
    DistributedType.MULTI_XPU, DistributedType.MULTI_NPU, DistributedType.MULTI_HPU,
}  # fmt: skip


def accelerator_for(device: str, **how: Any) -> Accelerator:
    """Return what spreads a training over the processes that a launcher started.

    `device`: "cpu", or anything else for the card that is this process's own. Which numbers are
    half as wide is the recipe's business, so accelerate is asked for none. Raises UsageError for
    a way of sharing that would not do.
    """
    on_cpu = device == "cpu"
    if on_cpu and "WORLD_SIZE" in os.environ:
        torch.set_num_threads(1)
    replicas = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[replicas], **how)
    if accelerator.distributed_type not in REPLICATED and not accelerator.is_fsdp2:
        raise UsageError(
            f"accelerate is set up for {accelerator.distributed_type.value}, which artv cannot"
            " resume from",
            "Take plain processes (DDP), or FSDP with fsdp_version: 2: `accelerate config`.",
        )
    return accelerator


def require_gathered(accelerator: Accelerator, ema_on: str) -> None:
    """Raise UsageError where averages would be spread over processes that cannot gather them."""
    if ema_on == "cpu" and accelerator.is_fsdp2 and accelerator.device.type != "cpu":
        raise UsageError(
            f"`ema_on: {ema_on}` cannot be had with FSDP: what is spread over cards is gathered by"
            " cards alone",
            "Leave it out of the recipe: FSDP spreads the averages over the cards.",
        )


def is_sharded(module: nn.Module) -> bool:
    """Tell whether each process holds only a part of the weights."""
    return any(hasattr(parameter, "full_tensor") for parameter in module.parameters())


def join() -> tuple[int, int]:
    """Join the group that `torchrun` set up; return this process's rank and their number."""
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        torch.set_num_threads(1)
        dist.init_process_group("gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def wait() -> None:
    """Return when all processes have come this far."""
    if dist.is_initialized():
        dist.barrier()


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


def agree(value: float, device: torch.device | str = "cpu") -> float:
    """Return the largest of all processes' values in each; `device`: where their group talks."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return shared.item()
