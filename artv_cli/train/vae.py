"""Trains the storybook's VAE: an AutoencoderKL, 8 times smaller each way, with 8 channels.

The loss is L1 on pixels and on their gradients, weighted towards the character, plus a small KL
term. Noise is added to the latents before they are decoded, so that the encoder must make what
matters stand out from noise, in which the networks have to find it. Most of the training sees crops
of half the side, every other one around the character: the network is convolutional, so a crop
teaches as much as a frame at a quarter of the cost. The last part sees whole frames, on which the
group norms settle. Training runs for a given wall-clock time, resumes from its state file, and
shares the work over the processes that torchrun starts.

A training may go on from a VAE that was trained before, for a world that has grown since. Once
networks have been trained on its latents, the encoder must stay as it is; its decoder can still
become sharper.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from artv_cli.files.output import storage_errors
from artv_cli.machine import autocast
from artv_cli.model.weights import system_errors
from artv_cli.storybook.script import Split
from artv_cli.storybook.world import sample_clip
from artv_cli.train.budget import Budget
from artv_cli.train.composition import composed
from artv_cli.train.interruption import Interruption
from artv_cli.train.parallel import agree, join
from artv_cli.train.training import Training
from artv_cli.train.vae_recipe import VaeRecipe, build_vae

Report = Callable[[str], None]
DOWNSAMPLING = 8  # pixels a latent, each way
STATE = "training.safetensors"
LOOKED_AT = 64  # clips by which a VAE is calibrated, and as many by which it is judged


def sample_batch(recipe: VaeRecipe, step: int, split: Split = "train") -> tuple[Tensor, Tensor]:
    """Return a step's frames (b, 3, h, w) in [-1, 1] and masks (b, 1, h, w): a pure function."""
    first = (recipe.seed * 1_000_003 + step) * recipe.clips
    clips = [
        sample_clip(first + index, recipe.frames, split=split) for index in range(recipe.clips)
    ]
    frames = torch.cat([clip.frames for clip in clips])
    masks = torch.cat([clip.masks for clip in clips])
    return frames.contiguous(memory_format=torch.channels_last), masks


def _arrays(recipe: VaeRecipe, step: int) -> tuple[np.ndarray, np.ndarray]:
    frames, masks = sample_batch(recipe, step)
    return frames.numpy(), masks.numpy()


def crop_batch(
    frames: Tensor, masks: Tensor, side: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return two crops of each frame: one around the character (where it shows), one anywhere.

    They are cut between the frame's latents, which the characters' places keep to as well.
    """
    height, width = frames.shape[-2:]
    corners = torch.rand(2, len(frames), 2, generator=generator)
    pieces = []
    for index, mask in enumerate(masks[:, 0]):
        anywhere = corners[0, index] * torch.tensor([height - side, width - side])
        shown = (mask > 0.5).nonzero()
        near = shown.float().mean(0) if len(shown) else anywhere + side / 2
        near = near + (corners[1, index] - 0.5) * side / 2 - side / 2
        for top, left in (anywhere.long().tolist(), near.long().tolist()):
            top, left = min(max(top, 0), height - side), min(max(left, 0), width - side)
            top, left = top - top % DOWNSAMPLING, left - left % DOWNSAMPLING
            window = (slice(top, top + side), slice(left, left + side))
            pieces.append((frames[index][:, *window], masks[index][:, *window]))
    cropped = torch.stack([piece for piece, _ in pieces])
    return (
        cropped.contiguous(memory_format=torch.channels_last),
        torch.stack([mask for _, mask in pieces]),
    )


def reconstruction_loss(output: Tensor, target: Tensor, mask: Tensor, recipe: VaeRecipe) -> Tensor:
    """Return the weighted L1 of pixels and of their differences to the right and below."""
    weight = 1 + recipe.character * F.max_pool2d(mask, 5, 1, 2)
    error = output - target
    down, across = error[:, :, 1:] - error[:, :, :-1], error[..., 1:] - error[..., :-1]
    edges = (down.abs() * weight[:, :, 1:]).mean() + (across.abs() * weight[..., 1:]).mean()
    return (error.abs() * weight).mean() + recipe.gradient * edges


class VaeTraining(Training[AutoencoderKL]):
    """A VAE being trained.

    Of `size` processes that train together, this is number `rank`; each has its own batches, which
    `workers` more processes compose ahead. With `decoder_only`, `vae` keeps its encoder, and with
    it its latents.
    """

    def __init__(
        self,
        recipe: VaeRecipe,
        rank: int = 0,
        size: int = 1,
        vae: AutoencoderKL | None = None,
        decoder_only: bool = False,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> None:
        self.recipe, self.rank, self.size, self.decoder_only = recipe, rank, size, decoder_only
        self.device, self.workers = torch.device(device), workers
        vae = (vae or build_vae(recipe)).to(self.device)
        if decoder_only:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        optimizer = torch.optim.AdamW(
            vae.parameters(),
            lr=recipe.rate,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
            fused=self.device.type != "cpu" or None,
        )
        self._batches: Iterator[tuple[np.ndarray, np.ndarray]] | None = None
        super().__init__(vae, optimizer, recipe.ema)

    def train_step(self, progress: float) -> float:
        """Take one optimiser step on the batch of the current step; return the loss."""
        loss = self._loss(progress)
        self.learn(loss, self._rate(progress))
        return loss.item()

    def _rate(self, progress: float) -> float:
        """Return the learning rate: a linear warm-up, then a cosine down to a hundredth."""
        warm = min(1.0, (self.step + 1) / self.recipe.warmup)
        return self.recipe.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _loss(self, progress: float) -> Tensor:
        recipe = self.recipe
        generator = torch.Generator().manual_seed(self._number)
        frames, masks = self._next_batch()
        if progress < recipe.cropped:
            frames, masks = crop_batch(frames, masks, recipe.crop, generator)
        frames = frames.to(self.device, memory_format=torch.channels_last)
        with autocast(self.device.type):
            posterior = self.module.encode(frames).latent_dist
            codes = posterior.mode() if self.decoder_only else posterior.sample(generator)
            output = self.module.decode(self._noised(codes.float(), generator)).sample
        loss = reconstruction_loss(output.float(), frames, masks.to(self.device), recipe)
        return loss if self.decoder_only else loss + recipe.kl * posterior.kl().mean()

    @property
    def _number(self) -> int:
        """Which batch this process takes next, of all that there are."""
        return self.step * self.size + self.rank

    def _next_batch(self) -> tuple[Tensor, Tensor]:
        if self._batches is None:
            numbers = itertools.count(self._number, self.size)
            self._batches = composed(partial(_arrays, self.recipe), numbers, self.workers)
        frames, masks = next(self._batches)
        return torch.from_numpy(frames), torch.from_numpy(masks)

    def _noised(self, codes: Tensor, generator: torch.Generator) -> Tensor:
        amounts = torch.rand(len(codes), 1, 1, 1, generator=generator).to(codes.device)
        noise = torch.randn(codes.shape, generator=generator).to(codes.device)
        return codes + self.recipe.noise * amounts * (noise * codes.detach().std())


@torch.no_grad()
def calibrate(vae: AutoencoderKL, recipe: VaeRecipe, batches: int = 16) -> None:
    """Set both factors so that (latents - shift_factor) · scaling_factor has deviation 1."""
    frames = [sample_batch(recipe, -1 - index)[0].to(vae.device) for index in range(batches)]
    latents = torch.cat([vae.encode(batch).latent_dist.mean for batch in frames])
    vae.register_to_config(
        scaling_factor=float(1 / latents.std()), shift_factor=float(latents.mean())
    )


@torch.no_grad()
def evaluate(vae: AutoencoderKL, recipe: VaeRecipe, batches: int = 16) -> tuple[float, float]:
    """Return the PSNR in dB on held-out clips: of whole frames, and of the character's region."""
    errors, weights = [], []
    for index in range(batches):
        frames, masks = (part.to(vae.device) for part in sample_batch(recipe, index, "held-out"))
        output = vae.decode(vae.encode(frames).latent_dist.mean).sample.clamp(-1, 1)
        errors.append(((output - frames) / 2).square().mean(1, keepdim=True))
        weights.append((masks > 0.5).float())
    error, weight = torch.cat(errors), torch.cat(weights)
    region = (error * weight).sum() / weight.sum()
    return float(-10 * error.mean().log10()), float(-10 * region.log10())


def train_vae(
    recipe: VaeRecipe,
    budget: Budget,
    out: Path,
    *,
    seconds: float = math.inf,
    every: float = 300.0,
    report: Report = print,
    vae: AutoencoderKL | None = None,
    decoder_only: bool = False,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> bool:
    """Train until the budget is spent and save the averaged VAE to `out`; tell whether it was.

    `vae` is one to begin with; with `decoder_only`, its encoder stays as it is. `device` and
    `workers`: where it trains, and how many processes compose its batches.

    Goes on from the state in `out` if there is one; every `every` seconds it is written again, and
    with it the averaged VAE so far; after `seconds` the state alone, and the training stops. So it
    does after a signal to any process, and then each raises Interrupted.
    """
    rank, size = join()
    training = VaeTraining(recipe, rank, size, vae, decoder_only, device, workers)
    if (out / STATE).exists():
        training.load(out / STATE)
    with Interruption() as interruption:
        is_done = _take_steps(training, budget, out, seconds, every, report, interruption)
    interruption.end(training.step, out / STATE, training.device)
    return is_done


def _take_steps(
    training: VaeTraining,
    budget: Budget,
    out: Path,
    seconds: float,
    every: float,
    report: Report,
    interruption: Interruption,
) -> bool:
    rank, device = training.rank, training.device
    started = saved = clock = time.monotonic()
    losses: list[float] = []
    while (progress := agree(budget.progress(training.step, training.elapsed), device)) < 1:
        spent = math.inf if interruption.is_asked else clock - started
        if agree(spent, device) >= seconds:
            if rank == 0:
                training.save(out / STATE)
            return False
        losses.append(training.train_step(progress))
        now = time.monotonic()
        training.elapsed, clock = training.elapsed + now - clock, now
        if rank == 0 and len(losses) == 50:
            report(f"step {training.step}, {training.elapsed:.0f} s, loss {sum(losses) / 50:.4f}")
            losses.clear()
        if rank == 0 and now - saved > every:
            _publish(training, out, report)
            saved = time.monotonic()
    if rank == 0:
        _publish(training, out, report)
    return True


def save_vae(vae: AutoencoderKL, folder: Path) -> None:
    """Write an autoencoder as diffusers does; raises StorageError."""
    with storage_errors(folder), system_errors():
        vae.save_pretrained(folder)


def _publish(training: VaeTraining, out: Path, report: Report) -> None:
    training.save(out / STATE)
    vae, recipe = training.averaged(), training.recipe
    batches = max(1, LOOKED_AT // recipe.clips)
    if not training.decoder_only:
        calibrate(vae, recipe, batches)
    save_vae(vae, out)
    whole, region = evaluate(vae, recipe, batches)
    report(f"step {training.step}: {whole:.2f} dB, the character's region {region:.2f} dB")
