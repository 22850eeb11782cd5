"""A frame's latents as they travel between engine and cache: exact bytes, without torch.

The next frame is conditioned on exactly this value, whether it was made a moment ago or read
back from the cache a week later: there is one hand-off form, so a resumed render cannot
differ from an uninterrupted one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Dtype = Literal["float32", "float16", "bfloat16"]
ITEM_SIZE: dict[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}

Pixels: TypeAlias = NDArray[np.uint8]  # (h, w, 3), 0-255, RGB
Mask: TypeAlias = NDArray[np.float32]  # (h, w) of the latents, in [0, 1]: 1 copies the reference


@dataclass(frozen=True)
class Latents:
    """One frame's VAE code.

    `shape` is (c, h, w); `data` holds the values in C order, little-endian, in `dtype`; scaled to
    unit deviation, as the networks consume them.
    """

    dtype: Dtype
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != math.prod(self.shape) * ITEM_SIZE[self.dtype]:
            raise ValueError(f"{len(self.data)} bytes do not make {self.dtype} {self.shape}")


NO_LATENTS = Latents("float32", (0, 0, 0), b"")
"""Those of a picture that no frame is conditioned on, but its key frame encoded from."""
