"""The training state on disk: one safetensors file, replaced by a rename, never pickled."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from artv_cli.files.durable import sync_folder
from artv_cli.train.ema import WeightAverage

MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    path: Path,
    module: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.AdamW,
    step: int,
    *,
    elapsed: float = 0.0,
) -> None:
    """Write weights, their average, the optimiser's moments, the step and the seconds spent."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        tensors[f"weights/{name}"] = parameter.detach().contiguous()
        tensors[f"average/{name}"] = average.weights[name].contiguous()
        for moment in MOMENTS:
            if state := optimizer.state.get(parameter):
                tensors[f"{moment}/{name}"] = state[moment].contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"step": str(step), "elapsed": str(elapsed)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def load_checkpoint(
    path: Path, module: nn.Module, average: WeightAverage, optimizer: torch.optim.AdamW
) -> tuple[int, float]:
    """Restore what `save_checkpoint` wrote; return the step and the seconds, 0 if not written."""
    with safe_open(path, "pt") as file, torch.no_grad():
        metadata = file.metadata()
        step, elapsed = int(metadata["step"]), float(metadata.get("elapsed", 0.0))
        names = set(file.keys())
        for name, parameter in module.named_parameters():
            parameter.copy_(file.get_tensor(f"weights/{name}"))
            average.weights[name].copy_(file.get_tensor(f"average/{name}"))
            if f"exp_avg/{name}" in names:
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step), device=parameter.device),
                    **{
                        moment: file.get_tensor(f"{moment}/{name}").to(
                            parameter.device, memory_format=_format(parameter)
                        )
                        for moment in MOMENTS
                    },
                }
    return step, elapsed


def _format(parameter: Tensor) -> torch.memory_format:
    is_last = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format
