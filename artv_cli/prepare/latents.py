"""The latents of a clip, made once so that training need not make them in every epoch.

They are of the very pictures that training would cut out of the clip, at the model's own size.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import safetensors.torch
import torch

from artv_cli.errors import ModelError
from artv_cli.machine import memory_told, resolve_device
from artv_cli.media.excerpt import read_excerpt
from artv_cli.model.folder import ModelFolder
from artv_cli.model.weights import AUTOENCODERS, load_weights
from artv_cli.train.video_clips import Encoder

AT_ONCE = 8  # frames


class LatentEncoder:
    """A model's autoencoder on a device; threads may share it, and take turns."""

    @memory_told()
    def __init__(self, folder: ModelFolder, device: str = "auto") -> None:
        """Load the autoencoder; raises ModelError where it is damaged."""
        vae: Any = load_weights(
            folder, "vae", AUTOENCODERS[folder.autoencoder], torch.float32, None
        )
        vae = vae.requires_grad_(False).eval().to(resolve_device(device))
        self._name, self._turn = folder.name, Lock()
        self._encoder = Encoder(vae, folder.preferences.size)
        self.facts = {
            "vae": folder.vae_fingerprint,
            "size": self._encoder.size,
            "shape": self._encoder.shape,
        }

    @memory_told()
    def encode(self, clip: Path, frames: int) -> bytes:
        """Return a safetensors file with `latents` (n, c, h, w) float16 of a film's n frames.

        Of each the middle, scaled to cover the model's size, is encoded; latents are scaled to unit
        deviation, as the networks consume them. Raises EncodeError if the film has not got the
        frames, ModelError if what comes out is not finite.
        """
        span = (0, clip.stat().st_size)
        pictures = torch.from_numpy(read_excerpt(clip, span, range(frames), self._encoder.size))
        with self._turn:
            batches = [self._encoder(batch).half().cpu() for batch in pictures.split(AT_ONCE)]
        latents = torch.cat(batches)
        if not latents.isfinite().all():
            raise ModelError(
                f"{self._name}: its autoencoder makes infinities or NaN of {clip.name}"
            )
        return safetensors.torch.save({"latents": latents.contiguous()})
