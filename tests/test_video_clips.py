"""Clips decoded out of shards: the right frames, the right size, and what fails told once."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from shards import as_mp4, moving_square, write_shards
from tiny import LATENT, SIZE, noise, tiny_vae

from artv_cli.errors import ArtvError, EncodeError
from artv_cli.media.excerpt import read_excerpt
from artv_cli.model.codec import encode_images
from artv_cli.train.examples import NO_DROPS, UnreadableClip, gather_examples, pick_frames
from artv_cli.train.shards import Sample, find_samples
from artv_cli.train.video_clips import Encoder, VideoClips

FRAMES = moving_square(10)
SIDE = FRAMES.shape[1]
NO_VIDEO = b"this is no video"


def clips(folder: Path, told: list[str] | None = None, **made: bytes) -> VideoClips:
    more = {name.replace("__", "."): data for name, data in made.items()}
    write_shards(folder, {"a": ("a square", FRAMES), "b": ("two squares", FRAMES)}, more=more)

    def warn(sample: Sample, reason: str) -> None:
        (told if told is not None else []).append(f"{sample.key}: {reason}")

    torch.manual_seed(0)
    return VideoClips(find_samples([folder]), Encoder(tiny_vae(), SIZE), 2, warn)


def test_an_excerpt_has_the_frames_that_were_asked_for_in_that_order(tmp_path: Path) -> None:
    data = as_mp4(FRAMES, tmp_path)
    (tmp_path / "around").write_bytes(b"before" + data + b"behind")
    frames = [7, 2, 9, 2]
    seen = read_excerpt(tmp_path / "around", (6, len(data)), frames, (SIDE, SIDE))
    assert seen.shape == (4, SIDE, SIDE, 3)
    assert np.abs(seen.astype(int) - FRAMES[frames]).mean() < 4


def test_an_excerpt_comes_from_any_name_relative_or_with_colons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("data:2026-11,,it's")
    folder.mkdir()
    data = as_mp4(FRAMES, tmp_path)
    (folder / "-a").write_bytes(data)
    assert read_excerpt(folder / "-a", (0, len(data)), [3], SIZE).shape == (1, *SIZE[::-1], 3)


def test_an_excerpt_is_the_middle_of_the_picture_scaled_to_cover(tmp_path: Path) -> None:
    wide = np.zeros((2, 32, 96, 3), np.uint8)
    wide[:, :, 32:64] = 200
    data = as_mp4(wide, tmp_path)
    (tmp_path / "file").write_bytes(data)
    seen = read_excerpt(tmp_path / "file", (0, len(data)), [1], (16, 16))
    assert seen.shape == (1, 16, 16, 3)
    assert seen[0, :, 4:12].mean() == pytest.approx(200, abs=5)


@pytest.mark.parametrize("frames", [range(480), [*range(0, 400, 2), 470, 471]])
def test_an_excerpt_has_as_many_frames_as_are_asked_for(
    frames: Sequence[int], tmp_path: Path
) -> None:
    # Of a plain sum of conditions ffmpeg understands 100 terms: 12.5 seconds of a clip.
    grey = np.arange(480, dtype=np.uint8)[:, None, None, None] // 2
    data = as_mp4(np.broadcast_to(grey, (480, 16, 16, 3)), tmp_path)
    (tmp_path / "file").write_bytes(data)
    seen = read_excerpt(tmp_path / "file", (0, len(data)), frames, (16, 16))
    assert np.abs(seen.mean((1, 2, 3)) - grey[list(frames), 0, 0, 0]).max() < 4


def test_an_excerpt_beyond_the_end_is_refused(tmp_path: Path) -> None:
    data = as_mp4(FRAMES, tmp_path)
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(EncodeError, match="no frame 10"):
        read_excerpt(tmp_path / "file", (0, len(data)), [3, 10], SIZE)


def test_a_clip_becomes_latents_of_its_pictures(tmp_path: Path) -> None:
    made = clips(tmp_path)
    pictures = made.pictures(0, range(10))
    images = torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2) / 127.5 - 1
    vae = made._encoder.vae
    with torch.no_grad():
        torch.testing.assert_close(made.latents(0), encode_images(vae, images))
    assert made.latents(0).shape == (10, *LATENT)
    assert made.length(0) == 10
    assert made.caption(1, 3, np.random.default_rng(0)) == "two squares"


def test_examples_come_from_threads_as_they_come_without(tmp_path: Path) -> None:
    made = clips(tmp_path)

    def draw(ahead: bool) -> torch.Tensor:
        rngs = [np.random.default_rng(n) for n in range(4)]
        picks = [pick_frames(made, n % 2, NO_DROPS, rng) for n, rng in enumerate(rngs)]
        made.expect(picks if ahead else [])
        return gather_examples(made, picks, NO_DROPS, rngs).target

    assert torch.equal(draw(ahead=True), draw(ahead=False))


def test_latents_of_the_right_size_spare_decoding_and_others_do_not(tmp_path: Path) -> None:
    stored = noise(10, *LATENT).half()
    right = save({"latents": stored})
    wrong = save({"latents": noise(10, LATENT[0], 5, 5).half()})
    made = clips(
        tmp_path, a__mp4=NO_VIDEO, a__latents__safetensors=right, b__latents__safetensors=wrong
    )
    assert torch.equal(made.load(0, [3, 1]), stored[[3, 1]])
    assert made.load(1, [3, 1]).dtype == torch.uint8
    mixed = made.encode([made.load(0, [3, 1]), made.load(1, [3, 1])])
    assert mixed.shape == (2, 2, *LATENT) and mixed.dtype == torch.float32
    torch.testing.assert_close(mixed[0], stored[[3, 1]].float())


@pytest.mark.parametrize("what", ["a__mp4", "a__latents__safetensors"])
def test_a_clip_that_cannot_be_read_is_told_once_and_another_is_drawn(
    tmp_path: Path, what: str
) -> None:
    told: list[str] = []
    made = clips(tmp_path, told, **{what: NO_VIDEO})
    rngs = [np.random.default_rng(n) for n in range(4)]
    picks = [pick_frames(made, 0, NO_DROPS, rng) for rng in rngs]
    made.expect(picks)
    examples = gather_examples(made, picks, NO_DROPS, rngs)
    assert examples.captions == ["two squares"] * 4
    assert len(told) == 1 and told[0].startswith("a: ")
    with pytest.raises(UnreadableClip):
        made.load(0, [0])


@pytest.mark.parametrize("what", ["latents", "caption"])
def test_a_passing_fault_of_the_disk_costs_a_clip_and_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    told: list[str] = []
    stored = {f"{key}__latents__safetensors": save({"latents": noise(10, *LATENT)}) for key in "ab"}
    made = clips(tmp_path, told, **stored)
    read, gone = Sample.read, getattr(made.samples[0], what)

    def fail(sample: Sample, span: tuple[int, int]) -> bytes:
        if span == gone:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return read(sample, span)

    monkeypatch.setattr(Sample, "read", fail)
    rngs = [np.random.default_rng(n) for n in range(4)]
    picks = [pick_frames(made, 0, NO_DROPS, rng) for rng in rngs]
    made.expect(picks)
    assert gather_examples(made, picks, NO_DROPS, rngs).captions == ["two squares"] * 4
    assert len(told) == 1 and told[0].startswith("a: ") and os.strerror(errno.ESTALE) in told[0]


def test_nothing_but_bad_clips_is_an_error(tmp_path: Path) -> None:
    made = clips(tmp_path, a__mp4=NO_VIDEO, b__mp4=NO_VIDEO)
    rngs = [np.random.default_rng(0)]
    picks = [pick_frames(made, 0, NO_DROPS, rngs[0])]
    with pytest.raises(ArtvError, match="clips in a row cannot be read"):
        gather_examples(made, picks, NO_DROPS, rngs)
