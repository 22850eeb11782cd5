"""What a training needs of a device's memory, and what it may still do without."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from artv_cli.errors import UsageError
from artv_cli.train.training_recipe import TrainingRecipe

NUMBERS = 4  # of a trained weight: itself, its gradient, AdamW's two moments; its average besides
_LORA = "With `lora: {rank: 16}`, in another --out, only small matrices are trained."


def require_memory(
    recipe: TrainingRecipe, modules: Iterable[nn.Module], device: str, free: int | None
) -> None:
    """Raise UsageError where `free` bytes of a card, if known, cannot hold what stays on it.

    That is every weight, and what goes with those that are trained, before any activation.
    """
    weights = [p for module in modules for p in module.parameters()]
    averages = sum(p.nbytes for p in weights if p.requires_grad)
    need = sum(p.nbytes * (NUMBERS if p.requires_grad else 1) for p in weights)
    if recipe.ema_on != "cpu":
        need += averages
    if free is None or need <= free:
        return
    spared = [f"Set ema_on: cpu in the recipe, which spares {_size(averages)}."]
    said = spared * (recipe.ema_on != "cpu") + [_LORA] * (recipe.lora is None)
    raise UsageError(
        f"before its first step the training needs {_size(need)} of {device}, for weights,"
        f" gradients, moments and averages, and {_size(free)} are free",
        " ".join(said) or "Close what else uses it, or take a device with more memory.",
    )


def advice(recipe: TrainingRecipe) -> str:
    """Return what to set in a recipe, gentlest first, that it has not set yet."""
    settings = [
        ("pass_size: 1", recipe.pass_size != 1),
        ("checkpoint_activations: true", not recipe.checkpoint_activations),
        ("ema_on: cpu", recipe.ema_on != "cpu"),
        ("precision: bf16", recipe.precision != "bfloat16"),
    ]
    left = [setting for setting, is_open in settings if is_open]
    gentle = f"Set {', '.join(left)} in the recipe, and run it again: it goes on from its state."
    said = [gentle] * bool(left) + [_LORA] * (recipe.lora is None)
    return " ".join(said) or "What is left is a smaller size, or a device with more memory."


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
