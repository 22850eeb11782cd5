"""Which pictures the autoencoder codes in tiles."""

import pytest

from artv_cli.tiles import tile_side


@pytest.mark.parametrize(
    ("size", "side"),
    [((768, 768), 512), ((2304, 256), 512), ((767, 768), None), ((128, 128), None)],
)
def test_tiles_begin_at_768_pixels_square(size: tuple[int, int], side: int | None) -> None:
    assert tile_side(size) == side
