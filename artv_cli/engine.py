"""The contracts between the loop that renders a story and whatever makes one frame of it.

`artv_cli.artv_engine.ArtvEngine` fulfils `Engine` with the masked diffusion model,
`artv_cli.pipeline_engine.PipelineEngine` `PictureEngine` with a text-to-image model; the tests
fulfil both with engines that cost microseconds. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from artv_cli.latents import Dtype, Latents, Mask, Pixels
from artv_cli.settings import Sampling

Watch = Callable[[int, Mask], None]
"""Hears of each evaluation of the networks: its timestep, and how much is copied where."""


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


@dataclass(frozen=True)
class PictureRequest:
    """What a text-to-image model is told about the picture of a key frame: all that decides it.

    `model` is its fingerprint. It draws at `drawn_size`, where it is at home; the picture is cut
    and scaled to `size`, both (width, height) in pixels. `steps` and `guidance` left None are the
    model's own.
    """

    model: str
    prompt: str
    seed: int
    size: tuple[int, int]
    drawn_size: tuple[int, int]
    dtype: Dtype
    steps: int | None = None
    guidance: float | None = None


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
        self,
        request: FrameRequest,
        references: tuple[Latents, Latents],
        anchor: Latents,
        watch: Watch | None = None,
    ) -> Latents:
        """Draw the frame that follows `references` (y_{i-1}, y_{i-2}) under `anchor` (Sec. 3.1).

        `watch` hears the masks, noisiest first; it changes no bit.
        """
        ...

    def decode(self, latents: Latents) -> Pixels:
        """Return the picture of a frame: uint8 (h, w, 3)."""
        ...


class PictureEngine(Protocol):
    """Draws the pictures that key frames are encoded from, by words alone."""

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and configs that decide the bits of a picture."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What else can change them, told as an `Engine` on the same machine tells it."""
        ...

    def picture(self, request: PictureRequest) -> Pixels:
        """Draw a picture: uint8 (h, w, 3), of the size that was asked for."""
        ...

    def close(self) -> None:
        """Free the memory that the model takes; it draws no more."""
        ...
