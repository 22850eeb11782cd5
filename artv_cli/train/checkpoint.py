"""The training state on disk: one safetensors file, replaced by a rename, never pickled.

Weights that are spread over processes are gathered: a state can be gone on with by any number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from artv_cli.errors import UsageError
from artv_cli.files.durable import sync_folder, temporary_for
from artv_cli.files.output import storage_errors
from artv_cli.model.weights import system_errors
from artv_cli.train.ema import WeightAverage

Origin = Mapping[str, Any]
MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    path: Path,
    module: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    step: int,
    *,
    elapsed: float = 0.0,
    origin: Origin | None = None,
    with_frozen: bool = True,
    write: bool = True,
) -> None:
    """Write weights, their average, the optimiser's moments, the step and the seconds spent.

    `origin` is what decides a training's bits, by the names of a recipe; without `with_frozen`
    only what is trained is kept. Of several processes all must call, and one has `write`. Raises
    StorageError, and the state before is still there.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in state_tensors(module, average, optimizer, with_frozen=with_frozen):
        value = whole(tensor)
        if write:
            tensors[name] = value
    if write:
        metadata = {"step": str(step), "elapsed": str(elapsed), "origin": json.dumps(origin or {})}
        _write(path, tensors, metadata)


def state_tensors(
    module: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    *,
    with_frozen: bool = True,
) -> Iterator[tuple[str, Tensor]]:
    """Yield what a state holds, by its names there, each tensor as and where it lies."""
    for name, parameter in module.named_parameters():
        if with_frozen or parameter.requires_grad:
            yield f"weights/{name}", parameter.detach()
        if name in average.weights:
            yield f"average/{name}", average.weights[name]
        for moment in MOMENTS:
            if state := optimizer.state.get(parameter):
                yield f"{moment}/{name}", state[moment]


def step_of(path: Path) -> int | None:
    """Return the step whose state a file holds, None where there is no file; raises UsageError."""
    if not path.exists():
        return None
    with _opened(path) as file:
        return _step(file)


def load_checkpoint(
    path: Path,
    module: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    origin: Origin | None = None,
) -> tuple[int, float]:
    """Restore what `save_checkpoint` wrote; return the step and the seconds, 0 if not written.

    Raises UsageError where the file is damaged, or holds another training's state.
    """
    with _opened(path) as file, torch.no_grad():
        metadata = file.metadata() or {}
        step, elapsed = _step(file), float(metadata.get("elapsed", 0.0))
        _require_same(path, metadata.get("origin"), origin or {})
        names = set(file.keys())
        for name, parameter in module.named_parameters():
            if f"weights/{name}" in names:
                _fill(path, parameter, file.get_tensor(f"weights/{name}"))
            elif parameter.requires_grad:
                raise _foreign(path, f"it has no {name}")
            if name in average.weights:
                _fill(path, average.weights[name], file.get_tensor(f"average/{name}"))
            if f"exp_avg/{name}" in names and parameter.requires_grad:
                moments = {m: file.get_tensor(f"{m}/{name}") for m in MOMENTS}
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step), device=parameter.device),
                    **{moment: _like(parameter, value) for moment, value in moments.items()},
                }
    return step, elapsed


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor as one piece of main memory, gathered if it is spread over processes.

    It leaves its device as it lies there: put in order on the device, it would be there twice.
    """
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu().contiguous()


def state_bytes(module: nn.Module) -> int:
    """Return how many bytes the state of what is trained in a module takes, within a percent."""
    numbers = 2 + len(MOMENTS)  # with the weight and its average
    return sum(numbers * p.numel() * p.itemsize for p in module.parameters() if p.requires_grad)


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    temporary = temporary_for(path)
    kept = "the last good state is kept" if path.exists() else "no state was kept yet"
    with storage_errors(path, kept):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(tensors, temporary, metadata)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file; raises OSError where it cannot."""
    with system_errors():
        save_file(dict(tensors), path, metadata=metadata)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a state; raises UsageError where it is damaged, or not one."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (KeyError, ValueError) as error:
        raise _foreign(path, "it does not say what it began with") from error
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", "Delete it to begin anew, or take another --out."
        ) from error


def _step(file: Any) -> int:
    return int((file.metadata() or {})["step"])


def _require_same(path: Path, told: str | None, origin: Origin) -> None:
    """Raise UsageError, naming the first difference, where a state had another origin."""
    there = json.loads(told or "{}")
    here = json.loads(json.dumps(origin))  # tuples become lists
    for name in [*here, *there]:
        if name not in there or name not in here or there[name] != here[name]:
            raise _foreign(path, f"it began with another {name}")


def _foreign(path: Path, how: str) -> UsageError:
    return UsageError(
        f"{path} is the state of another training: {how}",
        "Take another --out, or delete the file to begin anew.",
    )


def _fill(path: Path, there: Tensor, value: Tensor) -> None:
    if there.shape != value.shape:
        raise _foreign(path, "its networks are of another size")
    there.copy_(_like(there, value))


def _like(there: Tensor, value: Tensor) -> Any:
    """Return a value on the device, and in the layout or the pieces, that a tensor has there."""
    if isinstance(there, DTensor):
        return distribute_tensor(value.to(there.device), there.device_mesh, there.placements)
    return value.to(there.device, memory_format=_format(there))


def _format(parameter: Tensor) -> torch.memory_format:
    is_last = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format
