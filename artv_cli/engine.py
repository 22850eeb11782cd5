"""The contract between the loop that renders a story and whatever makes one frame of it.

`artv_cli.artv_engine.ArtvEngine` fulfils it with the masked diffusion model; the tests fulfil it
with engines that cost microseconds. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from artv_cli.latents import Latents, Pixels
from artv_cli.settings import Sampling


@dataclass(frozen=True)
class FrameRequest:
    """What the engine is told about one frame: everything but the frames it is conditioned on.

    `size` is (width, height) in pixels; `seed` is the frame's own (see `keys.frame_seed`), from
    which each purpose (initial noise, step noise, augmentation) derives its own generator.
    """

    prompt: str
    seed: int
    size: tuple[int, int]
    sampling: Sampling


class Engine(Protocol):
    """Makes the latents of one frame from a request and the frames before it."""

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and configs that decide the bits of a frame."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What else can change the last bit of a frame: library versions, device, threads."""
        ...

    def encode(self, pixels: Pixels) -> Latents:
        """Return the latents of a picture that already has the requested size."""
        ...

    def key_frame(self, request: FrameRequest) -> Latents:
        """Draw a frame from the prompt alone, with blank references and a blank anchor."""
        ...

    def next_frame(
        self, request: FrameRequest, references: tuple[Latents, Latents], anchor: Latents
    ) -> Latents:
        """Draw the frame that follows `references` (y_{i-1}, y_{i-2}) under `anchor` (Sec. 3.1)."""
        ...

    def decode(self, latents: Latents) -> Pixels:
        """Return the picture of a frame: uint8 (h, w, 3)."""
        ...
