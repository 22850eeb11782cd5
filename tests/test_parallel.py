"""Training on several processes: what one of them does when the others answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate.utils import DistributedType
from torch import Tensor, nn

from artv_cli.errors import UsageError
from artv_cli.train import parallel
from artv_cli.train.parallel import (
    accelerator_for,
    agree,
    average_gradients,
    join,
    require_gathered,
    wait,
)


def layers() -> nn.Module:
    """Return two layers that have gradients, one of them in channels-last memory."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 1))
    layers = layers.to(memory_format=torch.channels_last)
    layers(torch.randn(4, 2, 3, 3)).sum().backward()
    return layers


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


@pytest.fixture
def second_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process whose gradients are three times ours, and whose clock says 7."""

    def all_reduce(ours: Tensor, how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> None:
        if how == dist.ReduceOp.MAX:
            ours.clamp_(min=7.0)
        else:
            ours.mul_(1 + 3)

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "all_reduce", all_reduce)


def test_alone_there_is_one_process_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    module = layers()
    before = gradients(module)
    average_gradients(module.parameters())
    assert join() == (0, 1)
    assert agree(3.5) == 3.5
    wait()
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(module), strict=True))


@pytest.mark.parametrize(
    ("kind", "is_fsdp2"),
    [
        (DistributedType.DEEPSPEED, False),
        (DistributedType.FSDP, False),
        (DistributedType.FSDP, True),
    ],
)
def test_what_no_other_number_of_cards_could_resume_from_is_refused(
    monkeypatch: pytest.MonkeyPatch, kind: DistributedType, is_fsdp2: bool
) -> None:
    accelerator = SimpleNamespace(distributed_type=kind, is_fsdp2=is_fsdp2)
    monkeypatch.setattr(parallel, "Accelerator", lambda **how: accelerator)
    if is_fsdp2:
        assert accelerator_for("cpu") is accelerator
        return
    with pytest.raises(UsageError, match=f"set up for {kind.value}, which") as caught:
        accelerator_for("cpu")
    assert "fsdp_version: 2" in caught.value.remedy


@pytest.mark.usefixtures("second_process")
def test_every_gradient_becomes_the_mean_of_all_processes() -> None:
    module = layers()
    before = gradients(module)
    average_gradients(module.parameters())
    for own, mean in zip(before, gradients(module), strict=True):
        assert torch.equal(mean, own * 2)
    assert len(before) == len(list(module.parameters()))


@pytest.mark.usefixtures("second_process")
def test_a_parameter_without_gradient_stays_without() -> None:
    module = layers()
    next(module.parameters()).grad = None
    average_gradients(module.parameters())
    assert next(module.parameters()).grad is None


@pytest.mark.usefixtures("second_process")
def test_all_processes_go_by_the_latest_clock() -> None:
    assert join() == (1, 2)
    assert (agree(3.5), agree(9.5)) == (7.0, 9.5)


@pytest.mark.parametrize("is_fsdp2", [True, False])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("ema_on", ["cpu", "device"])
def test_averages_that_only_cards_could_gather_do_not_wait_in_main_memory(
    is_fsdp2: bool, device: str, ema_on: str
) -> None:
    accelerator: Any = SimpleNamespace(is_fsdp2=is_fsdp2, device=torch.device(device))
    if is_fsdp2 and device == "cuda" and ema_on == "cpu":
        with pytest.raises(UsageError, match="`ema_on: cpu` cannot be had with FSDP"):
            require_gathered(accelerator, ema_on)
    else:
        require_gathered(accelerator, ema_on)
