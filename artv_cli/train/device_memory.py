"""What a training may still do without where the device's memory is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from artv_cli.errors import ArtvError
from artv_cli.train.training_recipe import TrainingRecipe


@contextmanager
def memory_told(recipe: TrainingRecipe) -> Iterator[None]:
    """Raise ArtvError, with what the recipe can still spare, where the device's memory is spent."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        said = str(error).strip().partition("\n")[0][:300]
        raise ArtvError(f"the device has no memory left: {said}", advice(recipe)) from error


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
    lora = "With `lora: {rank: 16}`, in another --out, only small matrices are trained."
    said = [gentle] * bool(left) + [lora] * (recipe.lora is None)
    return " ".join(said) or "What is left is a smaller size, or a device with more memory."
