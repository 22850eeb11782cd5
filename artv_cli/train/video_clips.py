"""Clips of shards, decoded when they are wanted and encoded on the device that trains.

Threads decode the frames of the next step while the device is busy with this one. A clip that
cannot be decoded is told of once, and another is drawn in its place.

Legend: b batch, k frames, c latent channels, h w latent size, H W picture size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from artv_cli.errors import EncodeError
from artv_cli.latents import Pixels
from artv_cli.media.excerpt import read_excerpt
from artv_cli.model.codec import Autoencoder, downsampling, encode_images
from artv_cli.train.examples import Clips, Pick, UnreadableClip
from artv_cli.train.shards import Sample

Wanted = tuple[int, tuple[int, ...]]  # a clip and its frames


@dataclass(frozen=True)
class Encoder:
    """The frozen autoencoder, and the size (width, height) of the pictures that it is given."""

    vae: Autoencoder
    size: tuple[int, int]
    bfloat16: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its latents."""
        width, height = (side // downsampling(self.vae) for side in self.size)
        return self.vae.config.latent_channels, height, width

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Map pictures (n, H, W, 3) uint8 to latents (n, c, h, w)."""
        weight = next(self.vae.parameters())
        images = pixels.to(weight.device).permute(0, 3, 1, 2).to(weight.dtype) / 127.5 - 1
        with torch.autocast(weight.device.type, torch.bfloat16, enabled=self.bfloat16):
            return encode_images(self.vae, images).float()


class VideoClips(Clips):
    """The clips of some samples; `warn` hears of those that cannot be read, `workers` decode."""

    def __init__(
        self,
        samples: Sequence[Sample],
        encoder: Encoder,
        workers: int = 4,
        warn: Callable[[Sample, str], None] = lambda sample, reason: None,
    ) -> None:
        self.samples = samples
        self._encoder = encoder
        self._warn = warn
        self._told: set[int] = set()
        self._threads = ThreadPoolExecutor(max(1, workers))
        self._expected: dict[Wanted, Future[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def length(self, clip: int) -> int:
        return self.samples[clip].frames

    def caption(
        self, clip: int, frame: int, rng: np.random.Generator, *, complete: bool = False
    ) -> str:
        """Return the words of a clip, the same for all of its frames."""
        sample = self.samples[clip]
        try:
            return sample.read(sample.caption).decode("utf-8", "replace").strip()
        except OSError as error:
            reason = f"its caption cannot be read: {error}"
            self._tell(clip, reason)
            raise UnreadableClip(reason) from error

    def latents(self, clip: int) -> Tensor:
        """Return all frames of a clip: (frames, c, h, w)."""
        return self.encode([self.load(clip, range(self.length(clip)))])[0]

    def pictures(self, clip: int, frames: Sequence[int]) -> Pixels:
        """Return some frames as pictures (k, H, W, 3); UnreadableClip if that fails."""
        sample = self.samples[clip]
        try:
            return read_excerpt(sample.shard, sample.video, frames, self._encoder.size)
        except EncodeError as error:
            raise UnreadableClip(error.message) from error

    def expect(self, picks: Sequence[Pick]) -> None:
        wanted = {(pick.clip, pick.frames) for pick in picks}
        self._expected = {
            one: self._expected.get(one) or self._threads.submit(self._read, *one) for one in wanted
        }

    def load(self, clip: int, frames: Sequence[int]) -> Tensor:
        """Return pictures (k, H, W, 3) uint8, or latents (k, c, h, w) where the sample has them."""
        expected = self._expected.get((clip, tuple(frames)))
        try:
            return expected.result() if expected else self._read(clip, frames)
        except UnreadableClip as error:
            self._tell(clip, str(error))
            raise

    def close(self) -> None:
        """Give up what is expected, so that nobody waits for it at the end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def encode(self, loaded: Sequence[Tensor]) -> Tensor:
        encoded = list(loaded)
        pictures = [i for i, frames in enumerate(encoded) if frames.dtype == torch.uint8]
        if pictures:
            codes = self._encoder(torch.cat([encoded[i] for i in pictures]))
            sizes = [len(encoded[i]) for i in pictures]
            for i, frames in zip(pictures, codes.split(sizes), strict=True):
                encoded[i] = frames
        device = next(self._encoder.vae.parameters()).device
        return torch.stack([frames.to(device, torch.float32) for frames in encoded])

    def _tell(self, clip: int, reason: str) -> None:
        if clip not in self._told:
            self._told.add(clip)
            self._warn(self.samples[clip], reason)

    def _read(self, clip: int, frames: Sequence[int]) -> Tensor:
        latents = self._stored(self.samples[clip])
        if latents is not None and len(latents) > max(frames):
            return latents[list(frames)]
        return torch.from_numpy(self.pictures(clip, frames).copy())

    def _stored(self, sample: Sample) -> Tensor | None:
        """Return the latents that `prepare` stored of a sample, if they are of this size."""
        if sample.latents is None:
            return None
        try:
            latents = load(sample.read(sample.latents))["latents"]
        except (SafetensorError, KeyError) as error:
            raise UnreadableClip(f"its latents are damaged: {error}") from error
        except OSError as error:
            raise UnreadableClip(f"its latents cannot be read: {error}") from error
        return latents if latents.shape[1:] == self._encoder.shape else None
