"""The training state on disk, where weights are spread over processes; `test_loop` has the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from artv_cli.errors import UsageError
from artv_cli.train.checkpoint import load_checkpoint, save_checkpoint
from artv_cli.train.ema import WeightAverage

SPREAD = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from test_checkpoint import go_on
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
shard = lambda module: fully_shard(module, mesh=mesh)
go_on(Path({file!r}), shard, write=dist.get_rank() == 0)
dist.destroy_process_group()
"""


def go_on(
    file: Path, shard: object = lambda module: module, write: bool = True
) -> dict[str, Tensor]:
    """Take one step from the state in a file, if there is one, and write the next; return it."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    assert callable(shard)
    shard(module)
    optimizer = torch.optim.AdamW(module.parameters(), 0.1, fused=True)
    average = WeightAverage(module, 0.5)
    step = load_checkpoint(file, module, average, optimizer)[0] if file.exists() else 0
    module(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
    average.update(module, step)
    save_checkpoint(file, module, average, optimizer, step + 1, write=write)
    return dict(module.named_parameters())


def test_a_state_of_spread_weights_is_that_of_whole_ones(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone.safetensors", tmp_path / "shared.safetensors"
    program, tests = tmp_path / "spread.py", Path(__file__).parent
    program.write_text(SPREAD.format(paths=[str(tests), str(tests.parent)], file=str(shared)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for _ in range(2):  # begun with whole weights, gone on with spread ones, ended with whole ones
        go_on(alone)
    go_on(shared)
    subprocess.run([*launcher, "--nproc-per-node", "2", str(program)], check=True)
    one, other = go_on(alone), go_on(shared)
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name])


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
