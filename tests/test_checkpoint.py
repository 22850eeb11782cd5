"""The training state on disk, where weights are spread over processes; `test_loop` has the rest."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from conftest import run_in_two_processes
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from artv_cli.errors import UsageError
from artv_cli.train.checkpoint import load_checkpoint, save_checkpoint
from artv_cli.train.ema import WeightAverage
from artv_cli.train.loop import Trainer
from artv_cli.train.run_folder import STATE

SHARED = "shared.safetensors"


def spread_out(folder: Path) -> None:
    """Do, as one of two processes that share their weights, all that is asked of them."""
    dist.init_process_group("gloo")
    rank, mesh = dist.get_rank(), init_device_mesh("cpu", (2,))
    shard = partial(fully_shard, mesh=mesh)
    go_on(folder / SHARED, shard, write=rank == 0)
    for steps in "01":
        take_up(folder / steps / str(rank), shard)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where two processes that share their weights did all that is asked of them.

    They went one step on from the state SHARED, and took up states that only one of them has: the
    first step's in the folder `1`, one before any step in `0`.
    """
    folder = tmp_path_factory.mktemp("spread")
    go_on(folder / SHARED)
    for steps in "01":
        for rank in "01":
            (folder / steps / rank).mkdir(parents=True)
    save_checkpoint(folder / "0" / "0" / STATE, *begin(lambda module: module), 0)
    go_on(folder / "1" / "0" / STATE)
    run_in_two_processes(spread_out, folder)
    return folder


def begin(shard: object) -> tuple[nn.Module, WeightAverage, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    assert callable(shard)
    shard(module)
    optimizer = torch.optim.AdamW(module.parameters(), 0.1, fused=True)
    return module, WeightAverage(module, 0.5), optimizer


def take_up(folder: Path, shard: object) -> None:
    """Write down what a trainer says of the state in a folder of this process's own."""
    learner, average, optimizer = begin(shard)
    trainer: Any = SimpleNamespace(
        folder=folder, _state=folder / STATE, learner=learner, average=average, rank=1,
        optimizer=optimizer, origin=None, device=torch.device("cpu"),
    )  # fmt: skip
    try:
        Trainer._load(trainer)
    except UsageError as error:
        (folder / "refused.txt").write_text(str(error))


def go_on(
    file: Path, shard: object = lambda module: module, write: bool = True
) -> dict[str, Tensor]:
    """Take one step from the state in a file, if there is one, and write the next; return it."""
    module, average, optimizer = begin(shard)
    step = load_checkpoint(file, module, average, optimizer)[0] if file.exists() else 0
    module(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
    average.update(module, step)
    save_checkpoint(file, module, average, optimizer, step + 1, write=write)
    return dict(module.named_parameters())


def test_a_state_of_spread_weights_is_that_of_whole_ones(tmp_path: Path, spread: Path) -> None:
    alone, shared = tmp_path / "alone.safetensors", tmp_path / SHARED
    shutil.copy(spread / SHARED, shared)
    for _ in range(2):  # begun with whole weights, gone on with spread ones, ended with whole ones
        go_on(alone)
    one, other = go_on(alone), go_on(shared)
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name])


@pytest.mark.parametrize("steps", [1, 0])
def test_spread_weights_wait_for_no_state_that_only_one_process_has(
    spread: Path, steps: int
) -> None:
    """Each piece is filled by all processes together: one without a state would not come."""
    for rank in "01":
        told = (spread / str(steps) / rank / "refused.txt").read_text()
        assert f"from different steps, none to {steps}: not all of them see the same" in told


def test_weights_leave_their_device_one_by_one_and_as_they_lie_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put in order beforehand, a second copy of all of them would lie on the device."""
    left: list[tuple[tuple[int, ...], bool]] = []
    to_main_memory = Tensor.cpu

    def cpu(self: Tensor) -> Tensor:
        left.append((self.shape, self.is_contiguous()))
        return to_main_memory(self)

    monkeypatch.setattr(Tensor, "cpu", cpu)
    module = nn.Conv2d(4, 4, 3, bias=False).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 4, 3, 3)).sum().backward()
    optimizer.step()
    file = tmp_path / "state.safetensors"
    save_checkpoint(file, module, WeightAverage(module, 0.5), optimizer, 1)
    assert left == [((4, 4, 3, 3), False)] * 4  # weights, average and both moments
    assert torch.equal(load_file(file)["weights/weight"], module.weight)


def test_a_state_that_says_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    save_file({"weights/0.bias": torch.zeros(5)}, file)
    with pytest.raises(UsageError, match="does not say what it began with"):
        go_on(file)
