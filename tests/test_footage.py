"""Other people's films come in one rate and size, or with a sentence why not."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from home_videos import film, shot
from imageio_ffmpeg import get_ffmpeg_exe

from artv_cli.errors import EncodeError
from artv_cli.media.footage import read_footage
from artv_cli.media.probe import ppm_frames


def pattern(path: Path, size: str, *more: str, rate: str = "24") -> Path:
    source = f"testsrc=size={size}:rate={rate}:duration=1"
    arguments = [get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", source, *more, path]
    subprocess.run(arguments, check=True)
    return path


def shapes(path: Path, side: int, multiple: int = 2) -> list[tuple[int, ...]]:
    frames = read_footage(path, None, fps=8, side=side, multiple=multiple)
    return [frame.shape for frame in frames]


@pytest.mark.parametrize(
    ("size", "multiple", "expected"),
    [
        ("192x108", 2, (64, 114, 3)),  # (height, width)
        ("108x192", 2, (114, 64, 3)),
        ("192x108", 8, (64, 112, 3)),
        ("40x60", 2, (60, 40, 3)),  # never made larger
    ],
)
def test_the_shorter_side_is_scaled_down(
    tmp_path: Path, size: str, multiple: int, expected: tuple[int, ...]
) -> None:
    path = pattern(tmp_path / "a.mkv", size, "-c:v", "ffv1")
    assert shapes(path, 64, multiple) == [expected] * 8


def test_pixels_come_out_square(tmp_path: Path) -> None:
    path = pattern(tmp_path / "a.mkv", "64x64", "-vf", "setsar=2", "-c:v", "ffv1")
    assert set(shapes(path, 32)) == {(32, 64, 3)}


def test_slow_films_repeat_their_frames(tmp_path: Path) -> None:
    assert len(shapes(pattern(tmp_path / "a.mkv", "32x32", "-c:v", "ffv1", rate="4"), 32)) == 8


def test_a_span_of_a_file_is_a_film(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", shot("cat", "jump", "snow", 9))
    data = path.read_bytes()
    inside = tmp_path / "it's, a: [file].tar"
    inside.write_bytes(b"x" * 700 + data + b"y" * 700)
    alone = list(read_footage(path, None, fps=8, side=64, multiple=2))
    among = list(read_footage(inside, (700, 700 + len(data)), fps=8, side=64, multiple=2))
    assert len(alone) == len(among) == 9
    assert all((a == b).all() for a, b in zip(alone, among, strict=True))


def test_a_stream_of_frames_may_end_between_two_and_nowhere_else() -> None:
    one = b"P6\n12 3\n255\n" + bytes(12 * 3 * 3)
    for end in range(2 * len(one) + 1):
        frames = ppm_frames(io.BytesIO((one * 2)[:end]))
        if end % len(one) == 0:
            assert [frame.shape for frame in frames] == [(3, 12, 3)] * (end // len(one))
        else:
            with pytest.raises(EncodeError, match="in the middle of a frame"):
                list(frames)


def test_damage_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", shot("cat", "jump", "snow", 24))
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) * 3 // 4):
        data[place] ^= 0x5A
    path.write_bytes(data)
    with pytest.raises(EncodeError, match="ffmpeg failed"):
        shapes(path, 64)


def test_a_playlist_is_refused_whatever_its_name_says(tmp_path: Path) -> None:
    film(tmp_path / "secret.mp4", shot("cat", "jump", "snow", 9))
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile 'secret.mp4'\n")
    with pytest.raises(EncodeError):
        shapes(tmp_path / "a.mp4", 64)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    tone = [get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=1"]
    subprocess.run([*tone, tmp_path / "a.mp4"], check=True)
    with pytest.raises(EncodeError, match="ffmpeg failed"):
        shapes(tmp_path / "a.mp4", 64)
