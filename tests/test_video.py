"""Films are whole, exact and repeatable, or the old one is still there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from artv_cli.errors import EncodeError, StorageError, UsageError
from artv_cli.latents import Pixels
from artv_cli.media import ffmpeg, video
from artv_cli.media.subtitles import Cue
from artv_cli.media.video import (
    check_output,
    contact_sheet,
    dissolve,
    probe,
    read_frames,
    read_metadata,
    write_video,
)

OUTPUTS = ("film.mp4", "film.gif", "film.webp", "film")
RATES = (Fraction(8), Fraction(24), Fraction(30000, 1001))
TOLERANCE = {"film.mp4": 12, "film.gif": 14, "film.webp": 0, "film": 0}  # mean absolute difference


def moving(count: int, width: int = 32, height: int = 32) -> Iterator[Pixels]:
    """Smooth gradients with a bright square that moves one pixel a frame."""
    rows, columns = np.mgrid[:height, :width]
    for index in range(count):
        pixels = np.stack([columns * 5, rows * 5, np.full_like(rows, 90)], axis=-1)
        pixels[8:16, index % 20 : index % 20 + 8] = (250, 240, 20)
        yield pixels.astype(np.uint8)


def write(path: Path, count: int = 10, fps: Fraction = Fraction(8), **more: object) -> None:
    write_video(moving(count), path, fps=fps, count=count, **more)  # type: ignore[arg-type]


def delays(path: Path) -> list[int]:
    with Image.open(path) as picture:
        shown = []
        for frame in ImageSequence.Iterator(picture):
            frame.load()  # a WebP's delay is known only then
            shown.append(int(frame.info["duration"]))
        return shown


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(".part")]


def content(path: Path) -> bytes:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return b"".join(file.read_bytes() for file in files)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("size", [(32, 32), (33, 31)])
def test_every_format_gives_the_frames_back(
    tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    path = tmp_path / name
    write_video(moving(13, *size), path, fps=Fraction(8), count=13)
    back = [frame[: size[1], : size[0]].astype(int) for frame in read_frames(path)]
    assert len(back) == probe(path).frames == 13
    errors = [np.abs(a - b).mean() for a, b in zip(back, moving(13, *size), strict=True)]
    assert max(errors) <= TOLERANCE[name]
    assert leftovers(tmp_path) == []


def test_mp4_keeps_colours_within_the_codec(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (120, 60, 200)]
    frames = [np.full((32, 32, 3), colour, np.uint8) for colour in colours]
    write_video(frames, tmp_path / "a.mp4", fps=Fraction(8), count=len(frames))
    for frame, colour in zip(read_frames(tmp_path / "a.mp4"), colours, strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 6


def test_mp4_pads_odd_sizes_by_their_edge_and_never_rescales(tmp_path: Path) -> None:
    write_video(moving(3, 33, 31), tmp_path / "a.mp4", fps=Fraction(8), count=3, crf=1)
    assert probe(tmp_path / "a.mp4").size == (34, 32)
    frame = next(read_frames(tmp_path / "a.mp4")).astype(int)
    assert np.abs(frame[31] - frame[30]).max() < 12
    assert np.abs(frame[:, 33] - frame[:, 32]).max() < 12


@pytest.mark.parametrize("name", ["film.gif", "film.webp", "film"])
def test_other_formats_keep_odd_sizes(tmp_path: Path, name: str) -> None:
    write_video(moving(2, 33, 31), tmp_path / name, fps=Fraction(8), count=2)
    assert probe(tmp_path / name).size == (33, 31)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("count", [1, 25])
def test_mp4_has_exactly_the_rate(tmp_path: Path, fps: Fraction, count: int) -> None:
    write(tmp_path / "film.mp4", count, fps)
    info = probe(tmp_path / "film.mp4")
    assert (info.frames, info.fps) == (count, fps)


@pytest.mark.parametrize("name, tick", [("film.gif", 10), ("film.webp", 1)])
@pytest.mark.parametrize("fps", [*RATES, Fraction(50)])
def test_delays_never_drift_from_the_rate(
    tmp_path: Path, name: str, tick: int, fps: Fraction
) -> None:
    write(tmp_path / name, 60, fps)
    ends = np.cumsum(delays(tmp_path / name))
    exact = [float(Fraction(1000 * (index + 1)) / fps) for index in range(60)]
    assert np.abs(ends - exact).max() <= tick / 2
    if fps.denominator == 1:  # 60 or 48 frames are a whole number of seconds or hundredths
        whole = 48 if fps == 24 else 60 - 60 % fps.numerator or 60
        assert ends[whole - 1] * fps == 1000 * whole


def test_gif_at_24_spreads_four_and_five_hundredths(tmp_path: Path) -> None:
    write(tmp_path / "film.gif", 24, Fraction(24))
    assert set(delays(tmp_path / "film.gif")) == {40, 50}
    assert sum(delays(tmp_path / "film.gif")) == 1000


@pytest.mark.parametrize("name", OUTPUTS)
def test_frames_that_are_all_alike_are_all_kept(tmp_path: Path, name: str) -> None:
    still = np.full((32, 32, 3), 77, np.uint8)
    write_video([still] * 9, tmp_path / name, fps=Fraction(8), count=9)
    assert probe(tmp_path / name).frames == 9


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    metadata = {"title": "Twice", "comment": "{}"}
    for folder in ("one", "two"):
        cues = [Cue(0, 4, "Once")]
        write(tmp_path / folder / name, metadata=metadata, subtitles=cues)
    assert content(tmp_path / "one" / name) == content(tmp_path / "two" / name)


@pytest.mark.parametrize("name", OUTPUTS)
def test_metadata_comes_back(tmp_path: Path, name: str) -> None:
    comment = '{"a": "x = y; #z \\\\ \\" <&> \\u00e9", "long": "' + "0123456789" * 150_000 + '"}'
    metadata = {"title": "Ä = b; #c\n\x07d", "comment": comment, "AI-generated": "true"}
    write(tmp_path / name, 2, metadata=metadata)
    found = read_metadata(tmp_path / name)
    assert found["comment"] == comment
    if name != "film.gif":
        assert found == metadata | {"title": "Ä = b; #c\nd"}
    assert probe(tmp_path / name).frames == 2


@pytest.mark.parametrize("name", OUTPUTS)
def test_without_metadata_nothing_is_said_about_the_maker(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, 2)
    assert read_metadata(tmp_path / name) == {}
    assert not any(word in content(tmp_path / name) for word in (b"Lavf", b"artv", b"xmpmeta"))


def test_mp4_marks_generated_media_for_xmp_readers(tmp_path: Path) -> None:
    write(tmp_path / "film.mp4", 2, metadata={"digital_source_type": "urn:made"})
    data = (tmp_path / "film.mp4").read_bytes()
    assert b'Iptc4xmpExt:DigitalSourceType="urn:made"' in data
    assert data.index(b"moov") < data.index(b"mdat")  # faststart survives the appended box


def test_mp4_carries_soft_subtitles_cut_to_the_film(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    cues = [Cue(0, 4, "Once\n\nupon a time"), Cue(6, 99, "the end: é漢")]
    write(path, subtitles=cues)
    printed = ffmpeg.run("-i", ffmpeg.url(path), "-map", "0:s:0", "-f", "srt", "-").decode()
    assert "00:00:00,000 --> 00:00:00,500\nOnce\nupon a time\n" in printed
    assert "00:00:00,750 --> 00:00:01,250\nthe end: é漢\n" in printed
    assert probe(path).frames == 10


@pytest.mark.parametrize(
    "text",
    [r"C:\Notes and C:\new", r"say {s: hi} and {\b1}go{}", "<cat> a < b > c", r"it ends in \x"],
)
def test_no_word_of_the_narration_is_taken_for_markup(tmp_path: Path, text: str) -> None:
    write(tmp_path / "film.mp4", subtitles=[Cue(0, 4, text)])
    stream = ("-map", "0:s:0", "-c", "copy", "-f", "data", "-")
    data = ffmpeg.run("-i", ffmpeg.url(tmp_path / "film.mp4"), *stream)
    length = int.from_bytes(data[:2])
    assert data[2 : 2 + length].decode().replace("\u2060", "") == text


def test_names_that_ffmpeg_would_misread_are_files_like_any_other(tmp_path: Path) -> None:
    for name in ("http:x.mp4", "-y.gif", "a%03d.gif", "b%d.mp4", "é 'q'.mp4"):
        write(tmp_path / name, 2)
        assert probe(tmp_path / name).frames == 2


def test_a_folder_numbers_its_frames_from_one(tmp_path: Path) -> None:
    write(tmp_path / "film", 3)
    names = sorted(entry.name for entry in (tmp_path / "film").iterdir())
    assert names == ["frame-00001.png", "frame-00002.png", "frame-00003.png"]


def test_a_folder_of_frames_is_replaced_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "film"
    write(path, 5)
    (path / "recipe.json").write_text("{}")
    write(path, 3)
    assert len(list(path.iterdir())) == 3
    (path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match="holiday.jpg"):
        write(path, 4)
    assert len(list(path.iterdir())) == 4 and leftovers(tmp_path) == []


def test_a_file_put_into_the_folder_while_it_is_made_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "film"
    write(path, 2)

    def frames() -> Iterator[Pixels]:
        yield from moving(2)
        (path / "notes.txt").write_text("mine")

    with pytest.raises(UsageError, match="notes.txt"):
        write_video(frames(), path, fps=Fraction(8), count=2)
    assert (path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name, fps, words",
    [
        ("film.avi", Fraction(8), ".mp4, .gif, .webp"),
        ("film.gif", Fraction(60), "at most 50"),
        ("film.webp", Fraction(120), "at most 90"),
        ("film.mp4", Fraction(10**7 + 1, 10**6), "cannot be kept exactly"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(
    tmp_path: Path, name: str, fps: Fraction, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_output(tmp_path / name, fps)
    assert words in str(caught.value)


def test_no_device_and_no_file_without_extension_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "film").write_text("mine")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("film", "pipe.mp4"):
        with pytest.raises(UsageError, match="exists and is no"):
            write(tmp_path / name)
    assert (tmp_path / "film").read_text() == "mine"


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("came", [0, 3, 12])
def test_another_number_of_frames_than_announced_writes_nothing(
    tmp_path: Path, name: str, came: int
) -> None:
    with pytest.raises((EncodeError, UsageError)):
        write_video(moving(came), tmp_path / name, fps=Fraction(8), count=10)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_an_error_not_a_skewed_film(tmp_path: Path) -> None:
    frames = [*moving(2), *moving(1, 16, 16)]
    with pytest.raises(EncodeError, match="Frame 3"):
        write_video(frames, tmp_path / "film.mp4", fps=Fraction(8), count=3)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_among_the_frames_leaves_the_old_film(
    tmp_path: Path, name: str, error: type[BaseException]
) -> None:
    write(tmp_path / name)
    before = content(tmp_path / name)

    def broken() -> Iterator[Pixels]:
        yield from moving(5)
        raise error("stop")

    with pytest.raises(error):
        write_video(broken(), tmp_path / name, fps=Fraction(8), count=10)
    assert content(tmp_path / name) == before and leftovers(tmp_path) == []


FAKES = {
    "fails": "echo 'first words' >&2; echo 'no such encoder' >&2; exit 3",
    "fails late": "cat > /dev/null; echo 'no such encoder' >&2; exit 3",
    "does nothing": "exit 0",
    "swallows": "cat > /dev/null; exit 0",
    "writes garbage": "cat > /dev/null; for last; do :; done\n"
    'case $last in file:*) echo rubbish > "${last#file:}";; *) echo rubbish;; esac',
}


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
@pytest.mark.parametrize("kind", FAKES)
def test_an_ffmpeg_that_misbehaves_leaves_the_old_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    path = tmp_path / "out" / name
    write(path)
    before = path.read_bytes()
    fake = tmp_path / "ffmpeg"
    fake.write_text(f"#!/bin/sh\n{FAKES[kind]}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(fake))
    with pytest.raises((EncodeError, StorageError)) as caught:
        write(path)
    assert "fails" not in kind or "exit code 3: no such encoder" in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before and leftovers(path.parent) == []


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("No space left on device", "Free some space"),
        ("Permission denied", "change who may write there"),
        ("Read-only file system", "Choose another place"),
    ],
)
def test_an_ffmpeg_that_cannot_write_says_which_film_and_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str, remedy: str
) -> None:
    fake = tmp_path / "ffmpeg"
    fake.write_text(f"#!/bin/sh\ncat >/dev/null; echo 'x: {reason}' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(fake))
    with pytest.raises(StorageError) as caught:
        write(tmp_path / name)
    assert caught.value.message == f"ffmpeg could not write {tmp_path / name}: {reason}."
    assert remedy in caught.value.remedy
    assert ("space" in caught.value.remedy) == ("space" in reason)


def test_a_film_that_may_not_be_read_is_not_told_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "film.mp4")
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'x: Permission denied' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(fake))
    with pytest.raises(EncodeError, match="ffmpeg failed with exit code 1: x: Permission denied"):
        read_metadata(tmp_path / "film.mp4")


def test_a_disk_that_fails_between_two_looks_is_told_and_not_our_own_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(video, "check_output", lambda *_: None)
    monkeypatch.setattr(Path, "is_dir", fail)
    with pytest.raises(StorageError, match=r"film\.mp4 cannot be written: Input/output error"):
        write(tmp_path / "film.mp4")


def test_a_missing_ffmpeg_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(tmp_path / "nothing"))
    with pytest.raises(EncodeError) as caught:
        write(tmp_path / "film.mp4")
    assert "IMAGEIO_FFMPEG_EXE" in caught.value.remedy

    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(EncodeError, match="cannot be started"):
        write(tmp_path / "film.gif")


def run_python(program: str, *arguments: str) -> subprocess.Popen[str]:
    head = """
        import resource, sys, time
        from fractions import Fraction
        from pathlib import Path
        import numpy as np
        from artv_cli.errors import StorageError
        from artv_cli.media.video import write_video
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_file_size_limit_is_a_storage_error_in_every_format(tmp_path: Path) -> None:
    program = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        for name in ("film.mp4", "film.gif", "film.webp", "film"):
            try:
                path = Path(sys.argv[1]) / name
                write_video([noise] * 60, path, fps=Fraction(8), count=60)
            except StorageError as error:
                print(type(error).__name__)
    """
    with run_python(program, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.read().split() == ["StorageError"] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_kill_while_encoding_leaves_the_old_film_and_the_next_run_clears_up(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    write(path)
    before = content(path)
    program = """
        def frames():
            for _ in range(30):
                yield noise
            print("half way", flush=True)
            time.sleep(60)
        write_video(frames(), Path(sys.argv[1]), fps=Fraction(8), count=60)
    """
    with run_python(program, str(path)) as process:
        assert process.stdout is not None and process.stdout.readline() == "half way\n"
        process.send_signal(signal.SIGKILL)
    assert content(path) == before
    assert len(leftovers(tmp_path)) == 1
    write(path)
    assert content(path) == before and leftovers(tmp_path) == []


def test_a_dissolve_blends_from_the_last_frame_and_keeps_the_length() -> None:
    frames = [np.full((2, 2, 3), value, np.uint8) for value in (0, 40, 200, 200, 200, 200)]
    faded = [int(frame[0, 0, 0]) for frame in dissolve(frames, {2: 3})]
    assert faded == [0, 40, 80, 120, 160, 200]
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 40, 200, 200, 200, 200]


def test_dissolves_follow_each_other_and_none_changes_nothing() -> None:
    frames = [np.full((1, 1, 3), value, np.uint8) for value in (100, 0, 200)]
    assert [int(f[0, 0, 0]) for f in dissolve(frames, {1: 1, 2: 1})] == [100, 50, 125]
    assert [int(f[0, 0, 0]) for f in dissolve(frames, {})] == [100, 0, 200]


def test_a_contact_sheet_shows_each_frame_in_its_place() -> None:
    frames = [np.full((3, 5, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(frames, columns=2, gap=1)
    assert sheet.shape == (9, 13, 3)
    assert (sheet[1:4, 1:6] == 10).all() and (sheet[1:4, 7:12] == 20).all()
    assert (sheet[5:8, 1:6] == 30).all() and (sheet[5:8, 7:12] == 255).all()
    with pytest.raises(UsageError):
        contact_sheet([], 2)


def test_a_png_is_a_contact_sheet_of_evenly_spaced_frames(tmp_path: Path) -> None:
    frames = [np.full((4, 6, 3), value, np.uint8) for value in range(50)]
    sheet = tmp_path / "sheet.png"
    write_video(frames, sheet, fps=Fraction(8), count=50, metadata={"title": "Fifty"})
    with Image.open(sheet) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (4 + 3 * 8, 4 + 8 * 10, 3), "17 frames in rows of eight"
    assert [int(pixels[5, 5 + 10 * column, 0]) for column in range(8)] == list(range(0, 24, 3))
    assert read_metadata(sheet)["title"] == "Fifty"


def test_large_frames_make_a_sheet_that_can_still_be_opened(tmp_path: Path) -> None:
    frames = [np.full((768, 1024, 3), value, np.uint8) for value in (10, 250)]
    write_video(frames, tmp_path / "sheet.png", fps=Fraction(8), count=2)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (4 + 8 * 516, 4 + 388)
        assert image.getpixel((5, 5)) == (10,) * 3 and image.getpixel((521, 387)) == (250,) * 3
