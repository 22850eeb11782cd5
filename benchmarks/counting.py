"""What one forward pass costs, in multiply-accumulates, counted on the meta device.

Two countings stand side by side. The paper's unit (its "FLOPs") is what the `thop` package
counts: products of convolutions and linear layers without their biases, 4 for each value that
enters a LayerNorm, 1 for each that leaves an average pool; attention products and GroupNorm are
free. The true one is the products alone: those of the layers, and QK^T and AV of every attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode


@dataclass
class Cost:
    """Multiply-accumulates of a forward pass, by what they are spent on."""

    products: int = 0  # of convolutions and linear layers
    attention: int = 0  # QK^T and AV
    rest: int = 0  # what `thop` counts for LayerNorm and pools

    @property
    def paper(self) -> int:
        """The unit of the paper's Table 3."""
        return self.products + self.rest

    @property
    def true(self) -> int:
        """Every multiply-accumulate that a matrix unit does."""
        return self.products + self.attention


def count(module: nn.Module, forward: Callable[[], Any]) -> Cost:
    """Run `forward`, which calls `module` and its parts, and return what it cost.

    Only calls of `module`'s leaves and of torch's attention are seen, on any device.
    """
    cost = Cost()

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        cost.products += _products(layer, output)
        cost.rest += _rest(layer, inputs[0], output)

    handles = [leaf.register_forward_hook(add) for leaf in module.modules() if _is_leaf(leaf)]
    try:
        with torch.no_grad(), _AttentionCount(cost):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return cost


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _products(layer: nn.Module, y: Tensor) -> int:
    if isinstance(layer, _ConvNd):
        return y.numel() * math.prod(layer.weight.shape[1:])  # in channels per group, kernel
    return y.numel() * layer.in_features if isinstance(layer, nn.Linear) else 0


def _rest(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(layer, nn.LayerNorm):
        return 4 * x.numel()
    return y.numel() if isinstance(layer, nn.AvgPool2d) else 0


class _AttentionCount(TorchFunctionMode):
    """Adds the products of every scaled dot product attention to a cost."""

    def __init__(self, cost: Cost) -> None:
        super().__init__()
        self.cost = cost

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            query, keys = args[:2]
            self.cost.attention += 2 * query.numel() * keys.shape[-2]
        return result
