"""How far a network may grow while it is built: as far as its weights reach.

A config is a small file that may ask for a billion layers, and a library builds them before it
looks for their weights: the memory, and hours, would be gone before anybody could say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from artv_cli.model.header import TensorInfo

OUTGROWN = "its config asks for more weights than its files hold"
SLACK = 2  # times the weights: what is shared, or replaced while it is built, counts twice


class OutgrownError(ValueError):
    """A network asked for more weights than there are."""


@contextmanager
def grown_from(tensors: Mapping[str, TensorInfo]) -> Iterator[None]:
    """Stop every network that grows meanwhile to twice the weights that its files hold.

    Raises OutgrownError there: at so many tensors, or at so many values in them. Buffers, which a
    few kinds of networks compute from their config, are not counted.
    """
    most = SLACK * len(tensors), SLACK * sum(info.count for info in tensors.values())
    count = values = 0

    def grow(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        nonlocal count, values
        if weight is None or module._parameters.get(name) is not None:
            return  # a weight that is there already gets its value
        count, values = count + 1, values + weight.numel()
        if count > most[0] or values > most[1]:
            raise OutgrownError(OUTGROWN)

    hook = register_module_parameter_registration_hook(grow)
    try:
        yield
    finally:
        hook.remove()
