"""Whether a model fits a device, told from its files' headers and configs: nothing is loaded.

Weights are counted to the byte. Activations are estimated from the widths of the networks and the
size of a frame: at its widest, a network holds some dozens of first-level feature maps at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeVar

from artv_cli.errors import UsageError
from artv_cli.latents import ITEM_SIZE, Dtype
from artv_cli.model.folder import ModelFolder
from artv_cli.model.header import read_header
from artv_cli.model.repository import Found, block_widths, read_json, weight_files
from artv_cli.model.text_to_image import CONFIG, TextToImageFolder
from artv_cli.settings import Offload
from artv_cli.tiles import tile_side

TURNS = (("text_encoder",), ("dynamic", "mask"), ("vae",))  # of an artv model
BRANCHES = 4  # of guidance (Eq. 8), all in one batch
PICTURE_BRANCHES = 2  # with the prompt, and without
# In units of one feature map of the first level: the widest feed-forward and residual blocks, the
# skips of the encoder, and the prepared references and anchor.
UNET_MAPS = 40
VAE_MAPS = 8  # of twice the first width, at full resolution
SPARE = 300_000_000  # bytes that a device's libraries take for themselves

N = TypeVar("N", bound="_Need")


@dataclass(frozen=True)
class _Need(ABC):
    """What drawing with a model asks of a device: at which size (width, height), and how."""

    model: Found
    size: tuple[int, int]
    dtype: Dtype
    offload: Offload = "none"
    variant: str | None = None
    drawn: ClassVar[str]  # in the plural
    instead: ClassVar[str]  # of the model or the size, what else could be named

    @property
    def weights(self) -> int:
        """Bytes of weights that are on the device at one time."""
        turns = [[list(self._tensors(part)) for part in turn] for turn in self._turns()]
        item = ITEM_SIZE[self.dtype]
        sums = [sum(map(sum, turn)) for turn in turns]
        match self.offload:
            case "none":
                return item * sum(sums)
            case "model":
                return item * max(sums)
            case "sequential":
                return item * max(max(part) for turn in turns for part in turn)

    @property
    @abstractmethod
    def activations(self) -> int:
        """Bytes that are computed on the device at one time, roughly."""

    @property
    def total(self) -> int:
        """Bytes that must be free, roughly."""
        return self.weights + self.activations + SPARE

    @abstractmethod
    def smaller(self) -> Iterator[tuple[str, Self]]:
        """Yield what would draw less, with the flags that ask for it."""

    @abstractmethod
    def _turns(self) -> Iterable[Iterable[str]]:
        """Return which parts are on the device together when parts take turns."""

    def _tensors(self, part: str) -> Iterator[int]:
        yield 0
        for file in weight_files(self.model.path, part, self.variant):
            for info in read_header(file, self.model.name).values():
                yield info.count


@dataclass(frozen=True)
class Demand(_Need):
    """What a render asks of a device."""

    model: ModelFolder
    drawn = "frames"
    instead = "Take a smaller --size"

    @property
    def activations(self) -> int:
        """Bytes that are computed on the device at one time, roughly."""
        width, height = self.size
        latent = width * height // self.model.downsampling**2
        drawing = BRANCHES * UNET_MAPS * self.model.unet_width * latent
        tile = tile_side(self.size) or max(self.size)
        decoding = _decoding(self.model.vae_width, (min(width, tile), min(height, tile)))
        return ITEM_SIZE[self.dtype] * max(drawing, decoding)

    def smaller(self) -> Iterator[tuple[str, Self]]:
        """Yield the demands of smaller frames."""
        for share in (0.75, 0.5):
            side = self.model.size_multiple
            width, height = (max(side, math.floor(v * share / side) * side) for v in self.size)
            yield f"--size {width}x{height}", replace(self, size=(width, height))

    def _turns(self) -> Iterable[Iterable[str]]:
        return TURNS


@dataclass(frozen=True)
class PictureDemand(_Need):
    """What the pictures of key frames ask of a device, at the size at which they are drawn."""

    model: TextToImageFolder
    drawn = "pictures"
    instead = "Name a smaller --key-frame-model"

    @property
    def activations(self) -> int:
        """Bytes that are computed on the device at one time, roughly: of the parts that are known.

        A transformer draws in less than what its autoencoder then takes for the picture.
        """
        width, height = self.size
        blocks = self._widths("vae")
        latent = width * height // int(4 ** (len(blocks) - 1))
        drawing = PICTURE_BRANCHES * UNET_MAPS * self._widths("unet")[0] * latent
        decoding = _decoding(blocks[0], self.size)  # diffusers' pipelines tile nothing
        return ITEM_SIZE[self.dtype] * max(drawing, decoding)

    def _widths(self, part: str) -> list[int]:
        if part not in self.model.networks:
            return [0]
        config = read_json(self.model.path / part / CONFIG, self.model.name)
        return block_widths(config) or [0]

    def smaller(self) -> Iterator[tuple[str, Self]]:
        """Yield nothing: below the size that such a model was trained at, pictures fall apart."""
        return iter(())

    def _turns(self) -> Iterable[Iterable[str]]:
        return [(part,) for part in self.model.networks]


def _decoding(channels: int, size: tuple[int, int]) -> int:
    """Return how many values an autoencoder computes for what it takes whole."""
    width, height = size
    return VAE_MAPS * 2 * channels * width * height


def require_memory(
    demand: Demand | PictureDemand, device: str, free: int | None, warn: Callable[[str], None]
) -> None:
    """Say before loading that `free` bytes, if that is known, will not do.

    Raises UsageError where a card cannot hold the weights; elsewhere `warn` hears of it.
    """
    lack = None if free is None else shortage(demand, device, free)
    if lack is None:
        return
    if lack.is_certain and device.startswith("cuda"):
        raise UsageError(f"{lack.message}.", lack.remedy)
    warn(f"{lack.message}: {lack.remedy}")


@dataclass(frozen=True)
class Shortage:
    """That a model will not fit: for certain where its weights alone are too large."""

    is_certain: bool
    message: str
    remedy: str


def shortage(demand: Demand | PictureDemand, device: str, free: int) -> Shortage | None:
    """Return what to say where `free` bytes on `device` will not do, or None where they will."""
    if demand.total <= free:
        return None
    width, height = demand.size
    need = f"about {_size(demand.total)} for {width}x{height} {demand.drawn} in {demand.dtype}"
    return Shortage(
        is_certain=demand.weights > free,
        message=f"the model {demand.model.name} needs {need}, and {device} has {_size(free)} free",
        remedy=_remedy(demand, device, free),
    )


def _remedy(demand: Demand | PictureDemand, device: str, free: int) -> str:
    """Return the least change with which the model would fit."""
    for flags, other in _others(demand, device):
        if other.total <= free:
            return f"{flags} would fit: about {_size(other.total)}."
    return f"{demand.instead}, close what else uses the memory, or name another --device."


def _others(demand: N, device: str) -> Iterator[tuple[str, N]]:
    """Yield what else could be asked, the least loss first."""
    halves = [("", demand)]
    if demand.dtype == "float32":
        halves.append(("--dtype bfloat16", replace(demand, dtype="bfloat16")))
    ways: dict[Offload, list[Offload]] = {
        "none": ["none", "model", "sequential"],
        "model": ["model", "sequential"],
        "sequential": ["sequential"],
    }
    # A cpu has nowhere to offload to.
    for offload in ways[demand.offload] if device != "cpu" else [demand.offload]:
        flag = f"--offload {offload}" if offload != demand.offload else ""
        for half, other in halves:
            flags = " ".join(filter(None, (half, flag)))
            if flags:
                yield flags, replace(other, offload=offload)
    yield from demand.smaller()


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
