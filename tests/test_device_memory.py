"""Advice where a training does not fit: what helps, and is not there yet."""

from __future__ import annotations

import pytest
import torch

from artv_cli.errors import ArtvError
from artv_cli.train.device_memory import advice, memory_told
from artv_cli.train.training_recipe import LoraForm, TrainingRecipe

SPARING = {
    "pass_size": 1, "checkpoint_activations": True, "ema_on": "cpu", "precision": "bfloat16",
}  # fmt: skip


def recipe(**settings: object) -> TrainingRecipe:
    return TrainingRecipe(model="tiny", data=("clips",), **settings)


def test_all_that_spares_memory_is_named_the_gentlest_first() -> None:
    said = advice(recipe(precision="float32"))
    names = ("pass_size", "checkpoint_activations", "ema_on", "precision", "lora")
    places = [said.index(name) for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize("name", SPARING)
def test_what_is_set_already_is_not_named(name: str) -> None:
    assert name not in advice(recipe(**{name: SPARING[name]}))


def test_where_all_is_set_the_size_and_the_device_are_left() -> None:
    assert "lora" in advice(recipe(**SPARING))
    said = advice(recipe(**SPARING, lora=LoraForm()))
    assert said == "What is left is a smaller size, or a device with more memory."


def test_only_the_devices_memory_is_told_of() -> None:
    with pytest.raises(ArtvError, match="no memory left: CUDA out of memory") as caught:
        with memory_told(recipe()):
            raise torch.OutOfMemoryError("CUDA out of memory.\nMore of it.")
    assert "More" not in caught.value.message
    with pytest.raises(ZeroDivisionError), memory_told(recipe()):
        raise ZeroDivisionError
