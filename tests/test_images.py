"""Input images: what is refused, in one sentence, and what becomes of the pixels."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artv_cli import images
from artv_cli.errors import ImageError
from artv_cli.image_paths import read_images
from artv_cli.images import read_image, to_pixels
from artv_cli.storyboard import parse_storyboard
from benchmarks.trust.images import bomb

RED, WHITE = (255, 0, 0), (255, 255, 255)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_digest_is_of_the_very_bytes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture"  # the content decides, not the name
    path.write_bytes(encoded(NOISE, kind))
    image = read_image(path, tmp_path)
    assert image.data == path.read_bytes()
    assert image.digest == hashlib.sha256(image.data).hexdigest()
    path.unlink()
    assert to_pixels(image, (30, 20)).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a PNG, JPEG or WebP image"),
        (b"hello", "is not a PNG, JPEG or WebP image"),
        (encoded(NOISE, "GIF"), "is not a PNG, JPEG or WebP image"),
        (encoded(NOISE, "PNG")[:2000], "is damaged or cut off"),
        (encoded(NOISE, "JPEG")[:1000], "is damaged or cut off"),
        (bomb(8000, 8000), "has more than 40 megapixels"),
        (bomb(30000, 30000), "has more than 40 megapixels"),
        (bomb(100, 100), "is damaged or cut off"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=told) as error:
        read_image(path, None)
    assert str(path) in error.value.message
    assert error.value.remedy


def test_a_missing_image_is_named_with_the_one_most_like_it(tmp_path: Path) -> None:
    save(tmp_path / "cat.png", NOISE)
    with pytest.raises(ImageError, match=r"There is no file .*cta\.png") as error:
        read_image(tmp_path / "cta.png", tmp_path)
    assert "cat.png" in error.value.remedy
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "nowhere" / "cat.png", None)
    assert "no folder" in error.value.remedy
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "zebra", None)
    assert error.value.remedy == "Check its name."


def test_devices_pipes_and_folders_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait forever
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ImageError, match="is not a file that can be read"):
            read_image(path, None)


def test_an_image_outside_the_folder_is_refused_by_every_way_out(tmp_path: Path) -> None:
    outside = save(tmp_path / "secret.png", NOISE)
    folder = tmp_path / "story"
    folder.mkdir()
    (folder / "link.png").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    for path in ("../secret.png", "link.png", "up/secret.png", str(outside), "../missing.png"):
        with pytest.raises(ImageError, match="lies outside the storyboard's folder"):
            read_image(folder / path, folder)


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    save(tmp_path / "cat.png", NOISE)
    (tmp_path / "link.png").symlink_to("cat.png")
    assert read_image(tmp_path / "link.png", tmp_path).path == tmp_path / "link.png"


def test_a_path_that_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "nul\0", "x" * 5000):
        with pytest.raises(ImageError):
            read_image(tmp_path / name, tmp_path)


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    with pytest.raises(ImageError, match="is larger than"):
        read_image(save(tmp_path / "a.png", NOISE), None)


def pixels(path: Path, size: tuple[int, int]) -> np.ndarray:
    return to_pixels(read_image(path, None), size)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (*RED, 128))
    grey = Image.new("LA", (8, 8), (0, 0))
    assert (pixels(save(tmp_path / "a.png", clear), (8, 8)) == WHITE).all()
    assert (pixels(save(tmp_path / "b.png", half), (8, 8)) == (255, 127, 127)).all()
    assert (pixels(save(tmp_path / "c.png", grey), (8, 8)) == WHITE).all()
    palette = clear.convert("P")
    path = save(tmp_path / "d.png", palette, transparency=palette.getpixel((0, 0)))
    assert (pixels(path, (8, 8)) == WHITE).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    picture = NOISE.convert("L").convert("I;16") if mode == "I;16" else NOISE.convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    result = pixels(save(tmp_path / "a", picture, format=kind), (16, 16))
    assert result.shape == (16, 16, 3) and result.dtype == np.uint8


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert (pixels(save(tmp_path / "a.png", grey), (8, 8)) == 128).all()


def test_the_exif_mark_turns_the_picture_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 16), "white")
    picture.paste(RED, (0, 0, 8, 8))  # red above
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: red to the right
    turned = pixels(save(tmp_path / "a.png", picture, exif=exif), (16, 8))
    assert (turned[:, 12:] == RED).all() and (turned[:, :4] == WHITE).all()


def test_the_picture_is_cut_around_its_centre_and_resized(tmp_path: Path) -> None:
    picture = Image.new("RGB", (64, 16), "white")
    picture.paste(RED, (24, 0, 40, 16))
    cut = pixels(save(tmp_path / "a.png", picture), (32, 32))  # Lanczos sees a little of the rest
    assert (cut[:, 6:-6] == RED).all() and (cut[..., 0] == 255).all() and cut[:, :, 1].max() < 64
    thin = Image.new("RGB", (1, 5000), RED)
    assert (pixels(save(tmp_path / "b.png", thin), (64, 8)) == RED).all()
    same = pixels(save(tmp_path / "c.png", NOISE), NOISE.size)
    assert (same == np.asarray(NOISE)).all()


def test_a_name_that_cannot_be_shown_is_told_with_escapes(tmp_path: Path) -> None:
    source = 'segments: [{prompt: a, frames: 1, image: "a.\\uFEFFpng"}]'
    board = parse_storyboard(source, name="story.yaml", folder=tmp_path)
    with pytest.raises(ImageError, match=r"^story\.yaml:1:42: There is no file .*a\.\\ufeffpng\."):
        read_images(board)
