"""The embedded model's training recipe: its size, and weights that come out as a model folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from tiny import SolidClips, tiny_networks, tiny_text, tiny_vae

from artv_cli.artv_engine import load_engine
from artv_cli.diffusion.schedule import Schedule
from artv_cli.engine import FrameRequest
from artv_cli.errors import UsageError
from artv_cli.model.folder import find_model
from artv_cli.model.weights import load_model
from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from artv_cli.train.recipe import Recipe
from artv_cli.train.storybook import PREFERENCES, build_learner, export, take_over

HALF_PRECISION = 2  # bytes


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    torch.manual_seed(0)
    learner = Learner(tiny_networks(), tiny_text())
    recipe = Recipe(samples=10, batch_size=2, learning_rate=1e-3, bfloat16=False)
    return Trainer(learner, SolidClips(), Schedule.scaled_linear(), recipe, tmp_path / "runs")


def vae(tmp_path: Path) -> AutoencoderKL:
    """Return an autoencoder as training has it: loaded from a folder."""
    tiny_vae().save_pretrained(tmp_path / "runs" / "vae")
    return AutoencoderKL.from_pretrained(tmp_path / "runs" / "vae")


def test_the_embedded_networks_ship_in_less_than_30_megabytes() -> None:
    learner = build_learner()
    parameters = sum(parameter.numel() for parameter in learner.parameters())
    assert parameters * HALF_PRECISION < 27e6  # and the autoencoder has the rest


def test_the_same_seed_starts_the_same_training() -> None:
    one, same, other = (build_learner(seed=seed).networks.mask for seed in (0, 0, 1))
    weights = [network.unet.conv_in.weight for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_nothing_is_exported_before_anything_was_trained(trainer: Trainer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trained networks"):
        export(trainer, vae(tmp_path), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_exported_is_the_average_in_half_precision(
    trainer: Trainer, tmp_path: Path
) -> None:
    for _ in range(2):
        trainer.train_step()
    average = {name: weight.half().float() for name, weight in trainer.average.weights.items()}
    export(trainer, vae(tmp_path), tmp_path / "model")
    model = load_model(find_model(str(tmp_path / "model")))
    loaded = Learner(model.networks, model.text)
    for name, weight in loaded.named_parameters():
        assert torch.equal(weight, average[name]), name
    for file in (tmp_path / "model").rglob("*.json"):
        assert "runs" not in file.read_text()  # nor where it was trained


def test_an_exported_model_draws(trainer: Trainer, tmp_path: Path) -> None:
    trainer.train_step()
    export(trainer, vae(tmp_path), tmp_path / "model")
    folder = find_model(str(tmp_path / "model"))
    assert folder.preferences == PREFERENCES
    engine = load_engine(folder, device="cpu")
    frame = engine.key_frame(FrameRequest("a cat", 0, (32, 32), PREFERENCES.sampling))
    assert np.isfinite(np.frombuffer(frame.data, "<f4")).all()
    assert engine.decode(frame).shape == (32, 32, 3)


def test_a_training_starts_from_another_model_and_knows_its_words_again(
    trainer: Trainer, tmp_path: Path
) -> None:
    trainer.train_step()
    export(trainer, vae(tmp_path), tmp_path / "model")
    torch.manual_seed(5)
    learner = Learner(tiny_networks(), tiny_text(more=["zebra"]))
    fresh = embedding(learner, "zebra").clone()
    take_over(learner, find_model(str(tmp_path / "model")))
    for name, weight in learner.networks.named_parameters():
        torch.testing.assert_close(weight, trainer.learner.networks.get_parameter(name).float())
    assert torch.equal(embedding(learner, "cat"), embedding(trainer.learner, "cat").float())
    assert torch.equal(embedding(learner, "zebra"), fresh)


def embedding(learner: Learner, word: str) -> torch.Tensor:
    number = learner.text.tokenizer.get_vocab()[word]
    return learner.text.model.get_input_embeddings().weight[number].detach()
