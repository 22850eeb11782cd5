"""The VAE's training: it learns, it resumes, and what it saves has the scale that it says."""

import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from artv_cli.errors import Interrupted
from artv_cli.model.codec import encode_images
from artv_cli.train.budget import Budget
from artv_cli.train.vae import (
    VaeTraining,
    calibrate,
    crop_batch,
    evaluate,
    reconstruction_loss,
    sample_batch,
    train_vae,
)
from artv_cli.train.vae_recipe import VaeRecipe

TINY = VaeRecipe(widths=(8, 8, 8, 8), clips=2, frames=1, rate=3e-3, warmup=2, ema=0.5)


def test_a_few_steps_reduce_the_loss_of_the_same_batches() -> None:
    training, untaught = VaeTraining(TINY), VaeTraining(replace(TINY, rate=0.0))
    losses = [training.train_step(0.0) for _ in range(30)]
    untaught.step = 25
    assert sum(losses[25:]) < 0.8 * sum(untaught.train_step(0.0) for _ in range(5))


def test_a_resumed_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train_vae(TINY, Budget(steps=4), whole, report=lambda _: None)
    training = VaeTraining(TINY)
    for step in range(2):
        training.train_step(step / 4)
    halves.mkdir()
    training.save(halves / "training.safetensors")
    train_vae(TINY, Budget(steps=4), halves, report=lambda _: None)
    one, other = map(AutoencoderKL.from_pretrained, (whole, halves))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name
    assert one.config.scaling_factor == other.config.scaling_factor


def test_a_run_that_is_out_of_time_keeps_its_state_alone(tmp_path: Path) -> None:
    assert not train_vae(TINY, Budget(steps=2), tmp_path, seconds=0, report=lambda _: None)
    assert [file.name for file in tmp_path.iterdir()] == ["training.safetensors"]
    assert train_vae(TINY, Budget(steps=2), tmp_path, report=lambda _: None)
    assert train_vae(TINY, Budget(steps=2), tmp_path, seconds=0, report=lambda _: None)


@pytest.mark.usefixtures("signals_of_the_command_line")
def test_asked_to_stop_it_saves_the_step_it_is_at_and_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped, two = tmp_path / "whole", tmp_path / "stopped", Budget(steps=2)
    train_vae(TINY, two, whole, report=lambda _: None)
    step = VaeTraining.train_step

    def asked(training: VaeTraining, progress: float) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return step(training, progress)

    with monkeypatch.context() as patch:
        patch.setattr(VaeTraining, "train_step", asked)
        with pytest.raises(Interrupted, match="stopped after step 1, which .*safetensors holds"):
            train_vae(TINY, two, stopped, report=lambda _: None)
    assert [file.name for file in stopped.iterdir()] == ["training.safetensors"]
    train_vae(TINY, two, stopped, report=lambda _: None)
    one, other = map(AutoencoderKL.from_pretrained, (whole, stopped))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


def test_calibrated_latents_have_zero_mean_and_unit_deviation() -> None:
    training = VaeTraining(TINY)
    vae = training.averaged()
    calibrate(vae, TINY, batches=4)
    with torch.no_grad():
        latents = torch.cat([encode_images(vae, sample_batch(TINY, -k)[0]) for k in range(1, 5)])
    assert abs(float(latents.mean())) < 1e-3
    assert float(latents.std()) == pytest.approx(1, abs=1e-3)


def test_the_loss_is_zero_for_equality_and_weighs_the_character_more() -> None:
    target, mask = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    assert reconstruction_loss(target, target, mask, TINY) == 0
    output = target + 0.1
    plain = reconstruction_loss(output, target, mask, TINY)
    weighed = reconstruction_loss(output, target, mask + 1, TINY)
    assert weighed == pytest.approx((1 + TINY.character) * float(plain))


def test_every_other_crop_shows_the_character() -> None:
    frames, masks = sample_batch(VaeRecipe(clips=8, frames=1), 3)
    crops, shown = crop_batch(frames, masks, 64, torch.Generator().manual_seed(0))
    assert crops.shape == (16, 3, 64, 64) and shown.shape == (16, 1, 64, 64)
    whole = masks.sum((1, 2, 3))
    assert (shown[1::2].sum((1, 2, 3)) > 0.5 * whole).all()


def test_crops_are_cut_between_the_latents() -> None:
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    frames = torch.stack([rows, columns, rows])[None].repeat(16, 1, 1, 1)
    masks = torch.zeros(16, 1, 128, 128)
    for index, mask in enumerate(masks[:12]):  # the last four show no character
        mask[0, 5 * index + 3 :, 7 * index + 1 :] = 1
    for seed in range(4):
        crops, _ = crop_batch(frames, masks, 64, torch.Generator().manual_seed(seed))
        corners = crops[:, :2, 0, 0]
        assert not (corners % 8).any()
        assert len(corners.unique(dim=0)) > 10


def test_latents_are_noised_in_training_and_nowhere_else() -> None:
    clean, noised = replace(TINY, noise=0.0), replace(TINY, noise=3.0)
    one, other = VaeTraining(clean), VaeTraining(noised)
    assert evaluate(one.averaged(), clean, batches=2) == evaluate(other.averaged(), noised, 2)
    assert one.train_step(0.0) < other.train_step(0.0)
    assert VaeTraining(clean).train_step(0.0) == VaeTraining(clean).train_step(0.0)


def test_the_time_spent_is_kept_with_the_weights(tmp_path: Path) -> None:
    training, resumed = VaeTraining(TINY), VaeTraining(TINY)
    training.train_step(0.0)
    training.elapsed = 12.5
    training.save(tmp_path / "training.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["training.safetensors"]
    resumed.load(tmp_path / "training.safetensors")
    assert (resumed.step, resumed.elapsed) == (1, 12.5)


def test_the_budget_is_spent_by_whichever_limit_comes_first() -> None:
    assert Budget(seconds=100, steps=10).progress(5, 80.0) == 0.8
    assert Budget(steps=10).progress(20, 0.0) == 1.0


def test_evaluation_gives_the_psnr_of_the_frame_and_of_the_character() -> None:
    batches = [sample_batch(TINY, index, "held-out") for index in range(2)]
    seen = iter(batches)

    class Worse(SimpleNamespace):
        """Misses by 0.2 within the character, by 0.02 elsewhere, of a range of 2."""

        def encode(self, frames: Tensor) -> SimpleNamespace:
            return SimpleNamespace(latent_dist=SimpleNamespace(mean=frames))

        def decode(self, frames: Tensor) -> SimpleNamespace:
            miss = torch.where(next(seen)[1] > 0.5, 0.2, 0.02)
            return SimpleNamespace(sample=torch.where(frames > 0, frames - miss, frames + miss))

    told: Any = Worse(device=torch.device("cpu"))
    whole, region = evaluate(told, TINY, batches=2)
    share = float(torch.cat([masks > 0.5 for _, masks in batches]).float().mean())
    error = share * 0.1**2 + (1 - share) * 0.01**2
    assert region == pytest.approx(20, abs=1e-3)
    assert whole == pytest.approx(-10 * math.log10(error), abs=1e-3)
    assert whole > region + 1, "or the two could be confused"


def test_a_finished_vae_keeps_its_latents_while_its_decoder_learns(tmp_path: Path) -> None:
    train_vae(TINY, Budget(steps=2), tmp_path / "vae", report=lambda _: None)
    finished = AutoencoderKL.from_pretrained(tmp_path / "vae")
    frames, _ = sample_batch(TINY, 5)
    with torch.no_grad():
        latents, drawn = encode_images(finished, frames), finished.decode(torch.ones(1, 8, 8, 8))
    train_vae(
        TINY,
        Budget(steps=2),
        tmp_path / "sharper",
        report=lambda _: None,
        vae=finished,
        decoder_only=True,
    )
    again = AutoencoderKL.from_pretrained(tmp_path / "sharper")
    with torch.no_grad():
        assert torch.equal(encode_images(again, frames), latents)
        assert not torch.equal(again.decode(torch.ones(1, 8, 8, 8)).sample, drawn.sample)
    assert again.config.scaling_factor == finished.config.scaling_factor
