"""In which tiles the autoencoder codes large pictures, so that memory does not grow with them.

Tiles change bits, so they hang on a picture's size alone, never on the memory at hand.
"""

from __future__ import annotations

TILED_FROM = 768 * 768  # pixels
TILE = 512  # pixels: what Stable Diffusion's autoencoder codes in 1 GB of half precision


def tile_side(size: tuple[int, int]) -> int | None:
    """Return the side in pixels of the tiles for (width, height); None where it passes whole."""
    width, height = size
    return TILE if width * height >= TILED_FROM else None
