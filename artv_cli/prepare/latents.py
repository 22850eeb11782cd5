"""The latents of a clip, made once so that training need not make them in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from artv_cli.errors import ModelError
from artv_cli.latents import Pixels
from artv_cli.machine import resolve_device
from artv_cli.media.video import read_frames
from artv_cli.model.codec import encode_images
from artv_cli.model.folder import ModelFolder
from artv_cli.model.weights import AUTOENCODERS, load_weights

AT_ONCE = 8  # frames


class LatentEncoder:
    """A model's autoencoder on a device; threads may share it, and take turns."""

    def __init__(self, folder: ModelFolder, device: str = "auto") -> None:
        """Load the autoencoder; raises ModelError where it is damaged."""
        self._name, self._device = folder.name, resolve_device(device)
        vae: Any = load_weights(
            folder, "vae", AUTOENCODERS[folder.autoencoder], torch.float32, None
        )
        self._vae = vae.requires_grad_(False).eval().to(self._device)
        self._turn = Lock()
        self.fingerprint = folder.vae_fingerprint
        self._channels, self._downsampling = folder.latent_channels, folder.downsampling

    def shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return channels, height and width of the latents of such a film's frames."""
        return self._channels, height // self._downsampling, width // self._downsampling

    def encode(self, clip: Path) -> bytes:
        """Return a safetensors file with `latents` (n, c, h/8, w/8) float16 of a film's n frames.

        They are scaled to unit deviation, as the networks consume them. Raises EncodeError if
        the film cannot be read, ModelError if what comes out is not finite.
        """
        with self._turn, torch.inference_mode():
            latents = torch.cat([self._batch(frames) for frames in _batches(read_frames(clip))])
        if not latents.isfinite().all():
            raise ModelError(
                f"{self._name}: its autoencoder makes infinities or NaN of {clip.name}"
            )
        return safetensors.torch.save({"latents": latents.contiguous()})

    def _batch(self, frames: list[Pixels]) -> Tensor:
        images = torch.from_numpy(np.stack(frames)).to(self._device).permute(0, 3, 1, 2)
        return encode_images(self._vae, images.float() / 127.5 - 1).half().cpu()


def _batches(frames: Iterator[Pixels]) -> Iterator[list[Pixels]]:
    while batch := list(islice(frames, AT_ONCE)):
        yield batch
