"""Noise as a function of (seed, purpose), never of history: what makes a resume exact.

Every draw has its own generator on the CPU, so that neither the device nor anything drawn before
can change it.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from artv_cli.diffusion.sampler import StepNoise
from artv_cli.diffusion.schedule import Schedule

INITIAL = "initial"
AUGMENTATION = "augmentation"


def gaussian(seed: int, purpose: str, shape: tuple[int, ...]) -> Tensor:
    """Return standard normal noise, float32 on the CPU: one value per (seed, purpose, shape).

    `seed` is a frame's own. (torch's CPU generator keeps 32 bits of what it is seeded with, so
    that two frames share their noise by chance once in four thousand million pairs.)
    """
    digest = hashlib.sha256(f"artv-noise-v1\0{seed}\0{purpose}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def step_noise(seed: int, shape: tuple[int, ...]) -> StepNoise:
    """Return what an ancestral sampler adds at each step, drawn when it is asked for."""
    return lambda step: gaussian(seed, f"step {step}", shape)


def augment(latents: Tensor, level: int | Tensor, noise: Tensor, schedule: Schedule) -> Tensor:
    """Return a condition's latents corrupted to timestep `level` (Sec. 3.3).

    `latents` and `noise`: (b, c, h, w); `level`: one, or (b,). A network that was trained on
    imperfect references does not amplify the errors of its own.
    """
    return schedule.add_noise(latents, noise.to(latents), level)
