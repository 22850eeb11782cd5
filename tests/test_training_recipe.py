"""A training's recipe: the paper's by default, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from artv_cli.errors import DocumentError, UsageError
from artv_cli.train.ema import WeightAverage
from artv_cli.train.training_recipe import LoraForm, TrainingRecipe, load_training_recipe


def load(tmp_path: Path, text: str) -> TrainingRecipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_training_recipe(path)


def complaints(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        load(tmp_path, text)
    start = f"{tmp_path / 'recipe.yaml'}:"
    lines = caught.value.message.splitlines()
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


@pytest.mark.parametrize(
    ("said", "form"),
    [
        ("", LoraForm(rank=4)),
        ("lora: {rank: 16, whole: [mask]}", LoraForm(rank=4, whole=("mask",))),
    ],
)
def test_a_rank_that_is_asked_for_leaves_the_rest_of_lora_as_it_was(
    tmp_path: Path, said: str, form: LoraForm
) -> None:
    recipe = load(tmp_path, f"model: m\ndata: d\n{said}\n").with_lora(4)
    assert recipe.lora == form and recipe.folder == tmp_path


def test_what_is_left_out_is_the_papers(tmp_path: Path) -> None:
    recipe = load(tmp_path, "model: base\ndata: clips\n")
    assert (recipe.batch_size, recipe.samples) == (480, 480 * 258_000)  # Table 5, Sec. 4
    assert (recipe.learning_rate, recipe.warmup, recipe.decay_share) == (1e-5, 0, 0)
    assert (recipe.ema_decay, recipe.max_noise_level, recipe.anchor_window) == (0.9999, 550, 10)
    drops = recipe.drops
    assert (drops.references, drops.anchor, drops.text, drops.key_frames) == (0.1, 0.1, 0.1, 0)
    assert recipe.lora is None
    assert recipe.size is None  # the model's own: what `models init` writes is the paper's 320x320
    assert recipe.static_noise is None  # the model's own
    assert recipe.folder == tmp_path


def test_what_the_paper_does_not_say_is_what_the_readme_owns_to(tmp_path: Path) -> None:
    recipe = load(tmp_path, "model: base\ndata: clips\n")
    assert recipe.max_grad_norm == 1.0
    assert recipe.weight_decay == torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"]
    module = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, recipe.ema_decay)
    with torch.no_grad():
        start = module.weight.clone()
        module.weight += 1
    average.update(module, step=0)
    torch.testing.assert_close(average.weights["weight"], start + 0.9)  # not 0.0001: it warms up


def test_what_is_said_is_read(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        "model: base\ndata: [a, b]\nsize: 320x320\nprecision: bf16\ncheckpoint_every: 10min\n"
        "sheets: {prompts: a cat}\nlora: {rank: 4, whole: [mask, adapter]}\n",
    )
    assert recipe.data == ("a", "b") and recipe.size == (320, 320)
    assert recipe.precision == "bfloat16" and recipe.checkpoint_every == 600
    assert recipe.sheets.prompts == ("a cat",)
    assert recipe.lora is not None and recipe.lora.whole == ("mask", "adapter")


def test_every_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    text = (
        "model: base\nbach_size: 4\nlearning_rate: fast\n"
        "drops: {reference: 0.2, text: 3}\nlora: yes\n"
    )
    assert complaints(tmp_path, text) == [
        "1:1: 'data' is missing; add it",
        "2:1: 'bach_size' is not a known key; did you mean 'batch_size'?",
        "3:16: 'learning_rate' must be a number from 0 to 1, not 'fast'",
        "4:9: 'reference' is not a known key; did you mean 'references'?",
        "4:31: 'text' must be a number from 0 to 1, not '3'",
        "5:7: 'lora' must hold keys and values, not 'yes'",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1:1: this recipe is empty; begin with `model:`"),
        ("model: a\nmodel: b\ndata: c\n", "2:1: 'model' stands here a second time"),
        ("model: a\ndata: []\n", "2:7: 'data' must name at least one"),
        ("- model\n", "1:1: this must hold keys and values"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert complaints(tmp_path, text)[0].startswith(told)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .*recipe\.yaml"):
        load_training_recipe(tmp_path / "recipe.yaml")
