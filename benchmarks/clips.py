"""Clips of the storybook's world in the latents of any autoencoder, made on the fly.

Legend: t frames, c channels, h w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from artv_cli.model.codec import encode_images
from artv_cli.storybook.world import sample_clip
from artv_cli.train.examples import Clips


@dataclass(frozen=True)
class LatentClips(Clips):
    """Captioned clips that lie in memory: each frame's latents (n, t, c, h, w), and its words."""

    codes: Tensor
    captions: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.codes)

    def latents(self, clip: int) -> Tensor:
        """Return all frames of a clip: (t, c, h, w)."""
        return self.codes[clip]

    def caption(self, clip: int, frame: int, rng: np.random.Generator, *, complete: bool) -> str:
        """Return what happens in a frame."""
        return self.captions[clip][frame]


@torch.no_grad()
def encode_stories(vae: AutoencoderKL, clips: int, length: int, size: int) -> LatentClips:
    """Encode the storybook's first clips, `length` frames of `size` pixels each way.

    An autoencoder of random weights knows no scale: the latents are brought to mean 0 and
    deviation 1, so that noise hides them as it hides a trained one's.
    """
    made = [sample_clip(seed, length, (size, size)) for seed in range(clips)]
    weight = next(vae.parameters())
    frames = [clip.frames.to(weight.device, weight.dtype) for clip in made]
    codes = torch.stack([encode_images(vae, clip).float().cpu() for clip in frames])
    centred = codes - codes.mean((0, 1, 3, 4), keepdim=True)
    return LatentClips(centred / centred.std(), [clip.captions for clip in made])


def random_clips(clips: int, length: int, side: int) -> LatentClips:
    """Return clips of noise, for measurements that do not care what they show."""
    codes = torch.randn(clips, length, 4, side, side)
    return LatentClips(codes, [("a cat walks",) * length] * clips)
