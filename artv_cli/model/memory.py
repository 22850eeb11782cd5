"""Whether a model fits a device, told from its files' headers and configs: nothing is loaded.

Weights are counted to the byte. Activations are estimated from the widths of the networks and the
size of a frame: at its widest, a network holds some dozens of first-level feature maps at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from artv_cli.latents import ITEM_SIZE, Dtype
from artv_cli.model.folder import PARTS, WEIGHTED_PARTS, ModelFolder
from artv_cli.model.header import read_header
from artv_cli.model.repository import read_json, weight_files
from artv_cli.settings import Offload

TURNS = (("text_encoder",), ("dynamic", "mask"), ("vae",))
"""Which parts are on the device together when parts take turns."""

BRANCHES = 4  # of guidance (Eq. 8), all in one batch
# In units of one feature map of the first level: the widest feed-forward and residual blocks, the
# skips of the encoder, and the prepared references and anchor.
UNET_MAPS = 40
VAE_MAPS = 8  # of twice the first width, at full resolution
SPARE = 300_000_000  # bytes that a device's libraries take for themselves


@dataclass(frozen=True)
class Demand:
    """What a render asks of a device: which model, at which size (width, height), and how."""

    model: ModelFolder
    size: tuple[int, int]
    dtype: Dtype
    offload: Offload = "none"
    variant: str | None = None

    @property
    def weights(self) -> int:
        """Bytes of weights that are on the device at one time."""
        parts = {part: list(self._tensors(part)) for part in WEIGHTED_PARTS}
        item = ITEM_SIZE[self.dtype]
        match self.offload:
            case "none":
                return item * sum(map(sum, parts.values()))
            case "model":
                return item * max(sum(sum(parts[part]) for part in turn) for turn in TURNS)
            case "sequential":
                return item * max(map(max, parts.values()))

    @property
    def activations(self) -> int:
        """Bytes that are computed on the device at one time, roughly."""
        width, height = self.size
        unet: Any = self._config("dynamic").get("unet_config")
        latent = width * height // self.model.downsampling**2
        drawing = BRANCHES * UNET_MAPS * int(unet["block_out_channels"][0]) * latent
        vae = self._config("vae")
        widths = vae.get("block_out_channels") or vae["decoder_block_out_channels"]
        decoding = VAE_MAPS * 2 * int(widths[0]) * width * height
        return ITEM_SIZE[self.dtype] * max(drawing, decoding)

    @property
    def total(self) -> int:
        """Bytes that must be free, roughly."""
        return self.weights + self.activations + SPARE

    def _tensors(self, part: str) -> Iterator[int]:
        yield 0
        for file in weight_files(self.model.path, part, self.variant):
            for info in read_header(file, self.model.name).values():
                yield info.count

    def _config(self, part: str) -> dict[str, Any]:
        return read_json(Path(self.model.path) / part / PARTS[part], self.model.name)


@dataclass(frozen=True)
class Shortage:
    """That a model will not fit: for certain where its weights alone are too large."""

    is_certain: bool
    message: str
    remedy: str


def shortage(demand: Demand, device: str, free: int) -> Shortage | None:
    """Return what to say where `free` bytes on `device` will not do, or None where they will."""
    if demand.total <= free:
        return None
    width, height = demand.size
    need = f"about {_size(demand.total)} for {width}x{height} frames in {demand.dtype}"
    return Shortage(
        is_certain=demand.weights > free,
        message=f"the model {demand.model.name} needs {need}, and {device} has {_size(free)} free",
        remedy=_remedy(demand, device, free),
    )


def _remedy(demand: Demand, device: str, free: int) -> str:
    """Return the least change with which the model would fit."""
    for flags, other in _others(demand, device):
        if other.total <= free:
            return f"{flags} would fit: about {_size(other.total)}."
    return "Take a smaller --size, close what else uses the memory, or name another --device."


def _others(demand: Demand, device: str) -> Iterator[tuple[str, Demand]]:
    """Yield what else could be asked, the least loss first."""
    halves: list[tuple[str, Demand]] = [("", demand)]
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
    for share in (0.75, 0.5):
        side = demand.model.size_multiple
        width, height = (max(side, math.floor(v * share / side) * side) for v in demand.size)
        yield f"--size {width}x{height}", replace(demand, size=(width, height))


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
