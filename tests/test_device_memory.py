"""Advice where a training does not fit: what helps, and is not there yet."""

from __future__ import annotations

import pytest
from torch import nn

from artv_cli.errors import UsageError
from artv_cli.train.device_memory import advice, require_memory
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


@pytest.mark.parametrize(
    ("settings", "need", "spared"),
    [({}, "9.6", ["ema_on: cpu", "spares 1.6 GB", "lora"]),
     ({"ema_on": "cpu"}, "8.0", ["lora"]),
     ({"ema_on": "cpu", "lora": LoraForm()}, "8.0", ["Close what else"])],
)  # fmt: skip
def test_what_cannot_fit_a_card_is_told_before_the_first_step(
    settings: dict[str, object], need: str, spared: list[str]
) -> None:
    """What is trained counts with its gradient, two moments and average; what is not, once."""
    trained, frozen = (nn.Linear(20_000, 20_000, bias=False, device="meta") for _ in range(2))
    modules = [trained, frozen.requires_grad_(False)]
    enough = round(float(need) * 1e9)
    for free in (None, enough):
        require_memory(recipe(**settings), modules, "cuda", free)
    with pytest.raises(UsageError, match=f"needs {need} GB of cuda, .* and 7.0 GB are") as caught:
        require_memory(recipe(**settings), modules, "cuda", 7 * 10**9)
    with pytest.raises(UsageError):
        require_memory(recipe(**settings), modules, "cuda", enough - 1)
    remedy = caught.value.remedy
    assert all(word in remedy for word in spared)
    assert ("ema_on" in remedy) == ("ema_on" not in settings)
