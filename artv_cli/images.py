"""Input images: read once, within limits, and brought to the film's size.

The file is hostile until read: its path may lead out of the storyboard's folder, it may be a pipe
or a device, and a few kilobytes may unfold to gigabytes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from artv_cli.errors import ImageError
from artv_cli.files.input_file import read_input
from artv_cli.latents import Pixels

MAX_BYTES = 50_000_000
MAX_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class InputImage:
    """An image's bytes, read once; `digest` is the SHA-256 of these very bytes."""

    path: Path
    digest: str
    data: bytes = field(repr=False)


def read_image(path: Path, inside: Path | None) -> InputImage:
    """Return an image file's bytes, having made sure that they are a picture within the limits.

    With `inside`, the path must lie in that folder once symlinks are followed. ImageError names
    what is wrong: missing, not a regular file, outside, over 50 MB or 40 megapixels, not a PNG,
    JPEG or WebP, damaged.
    """
    try:
        real = path.resolve()
        outside = inside is not None and not real.is_relative_to(inside.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of symlinks, a name that is none
        raise ImageError(f"{path!s:.200} is not a path that can be followed.") from None
    if outside:
        raise ImageError(
            f"The image {path} lies outside the storyboard's folder.",
            f"Copy it into {inside} and name it from there.",
        )
    data = read_input(real, MAX_BYTES, ImageError)
    image = InputImage(path, hashlib.sha256(data).hexdigest(), data)
    with _decoded(image):
        return image


def to_pixels(image: InputImage, size: tuple[int, int]) -> Pixels:
    """Return the picture as (h, w, 3) uint8 pixels of `size` (width, height).

    Turned upright by its EXIF mark, laid over white where it is transparent, and `fitted`.
    """
    with _decoded(image) as picture:
        return fitted(_rgb(ImageOps.exif_transpose(picture)), size)


def fitted(picture: Image.Image, size: tuple[int, int]) -> Pixels:
    """Return an RGB picture cut to the aspect of `size` around its centre, resized with Lanczos."""
    return np.array(ImageOps.fit(picture, size, Image.Resampling.LANCZOS), dtype=np.uint8)


@contextmanager
def _decoded(image: InputImage) -> Iterator[Image.Image]:
    """Decode within the limits; whatever goes wrong inside is an ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limits are wider than these
            with Image.open(BytesIO(image.data), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise _too_large(image)
                picture.load()
                yield picture
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(image) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{image.path} is not a PNG, JPEG or WebP image.", "Save it as one of these."
        ) from None
    except Exception:  # hostile bytes raise anything in a decoder, struct.error to SyntaxError
        raise ImageError(
            f"{image.path} is damaged or cut off.", "Save or download it again."
        ) from None


def _too_large(image: InputImage) -> ImageError:
    limit = MAX_PIXELS // 1_000_000
    return ImageError(f"{image.path} has more than {limit} megapixels.", "Make it smaller.")


def _rgb(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode as RGB, over white where it is transparent."""
    if picture.mode.startswith("I"):  # 16 bits a pixel, of which convert() would clip the upper 8
        values = np.asarray(picture).astype(np.int64)
        return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
