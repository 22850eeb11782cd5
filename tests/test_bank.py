"""The bank of latents: what a build writes is what a trainer reads."""

import errno
import json
import os
import random
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from artv_cli.errors import StorageError, UsageError
from artv_cli.model.codec import encode_images
from artv_cli.storybook.characters import PLAIN
from artv_cli.storybook.script import sample_script
from artv_cli.storybook.world import sample_clip, world_digest
from artv_cli.train.bank import SELDOM, Bank, build_bank
from artv_cli.train.vae_recipe import VaeRecipe, build_vae


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return build_vae(VaeRecipe(widths=(4, 4, 4, 4), groups=2)).eval()


@pytest.fixture(scope="module")
def folder(vae: AutoencoderKL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bank")
    build_bank(vae, out, clips=12, length=8, seed=30, shard=6, report=lambda _: None)
    return out


def test_a_bank_holds_the_encoded_frames_of_its_clips(folder: Path, vae: AutoencoderKL) -> None:
    bank = Bank(folder)
    for index in (0, len(bank) - 1):
        clip = sample_clip(30 if index == 0 else 41, 8)
        with torch.no_grad():
            expected = encode_images(vae, clip.frames)
        assert bank.latents(index).shape == (8, 8, 16, 16)
        assert bank.latents(index).dtype == torch.float16
        assert torch.allclose(bank.latents(index).float(), expected, atol=2e-2, rtol=2e-2)
        assert bank.script(index) == clip.script


def test_what_is_seldom_seen_counts_twice(folder: Path) -> None:
    bank = Bank(folder)
    scripts = [sample_script(seed, 8) for seed in range(30, 42)]
    counts = [2 if SELDOM & set(script.motions) else 1 for script in scripts]
    assert set(counts) == {1, 2}
    expected = [script for script, n in zip(scripts, counts, strict=True) for _ in range(n)]
    assert [bank.script(index) for index in range(len(bank))] == expected
    assert torch.equal(bank.latents(counts.index(2)), bank.latents(counts.index(2) + 1))


def test_an_interrupted_build_goes_on_with_the_missing_shard_only(
    folder: Path, vae: AutoencoderKL
) -> None:
    first, second = sorted(folder.glob("clips-*"))
    before, kept = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    build_bank(vae, folder, clips=12, length=8, seed=30, shard=6, report=lambda _: None)
    assert second.read_bytes() == before
    assert first.stat().st_mtime_ns == kept
    assert {file.name for file in folder.iterdir()} == {"bank.json", first.name, second.name}


def test_a_full_disk_is_told_and_leaves_the_shards_that_are_there(
    vae: AutoencoderKL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def build(clips: int) -> bool:
        return build_bank(vae, tmp_path, clips, length=2, shard=1, report=lambda _: None)

    assert build(1)
    with monkeypatch.context() as broken:
        broken.setattr("artv_cli.train.bank.save_tensors", full)
        with pytest.raises(StorageError, match="No space left"):
            build(2)
    assert len(list(tmp_path.iterdir())) == 2
    assert build(2)
    assert len(Bank(tmp_path)) >= 2


def test_a_bank_of_another_length_or_vae_is_refused(folder: Path, vae: AutoencoderKL) -> None:
    with pytest.raises(UsageError, match="another length"):
        build_bank(vae, folder, clips=12, length=9, seed=30, shard=6)
    other = build_vae(VaeRecipe(widths=(4, 4, 4, 4), groups=2, seed=1))
    with pytest.raises(UsageError, match="another vae"):
        build_bank(other, folder, clips=12, length=8, seed=30, shard=6)
    with pytest.raises(UsageError, match="another cast"):
        build_bank(vae, folder, clips=12, length=8, seed=30, shard=6, cast=PLAIN)


@pytest.mark.parametrize("kept", [{}, {"world": "0" * 64}])
def test_a_bank_of_another_world_is_refused(
    folder: Path, vae: AutoencoderKL, tmp_path: Path, kept: dict[str, str]
) -> None:
    there = json.loads((folder / "bank.json").read_text())
    assert there.pop("world") == world_digest()
    (tmp_path / "bank.json").write_text(json.dumps(there | kept))
    with pytest.raises(UsageError, match="another world"):
        build_bank(vae, tmp_path, clips=12, length=8, seed=30, shard=6)


def test_no_shard_is_begun_when_the_time_is_up(vae: AutoencoderKL, tmp_path: Path) -> None:
    def build(seconds: float) -> bool:
        return build_bank(
            vae, tmp_path, clips=2, length=2, shard=1, seconds=seconds, report=lambda _: None
        )

    assert not build(0)
    assert not list(tmp_path.glob("clips-*"))
    assert build(60)
    assert build(0)  # nothing is missing any more


def test_processes_share_the_shards(
    vae: AutoencoderKL, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in (0, 1):
        monkeypatch.setattr("artv_cli.train.bank.join", lambda rank=rank: (rank, 2))
        build_bank(vae, tmp_path, 12, 8, seed=30, shard=6, report=lambda _: None)
        assert len(list(tmp_path.glob("clips-*"))) == rank + 1
    for file in folder.glob("clips-*"):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_an_empty_folder_is_no_bank(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no clips"):
        Bank(tmp_path)


def test_captions_are_drawn_anew_and_follow_the_switch(folder: Path) -> None:
    bank = Bank(folder)
    index = next(i for i in range(len(bank)) if bank.script(i).switch < 8)
    rng, script = random.Random(0), bank.script(index)
    before = {bank.caption(index, 0, rng) for _ in range(60)}
    after = {bank.caption(index, script.switch, rng) for _ in range(60)}
    assert len(before) > 5 and len(after) > 5
    assert not before & after


def test_a_complete_caption_never_leans_on_what_came_before(folder: Path) -> None:
    bank = Bank(folder)
    rng = random.Random(0)
    for index in range(len(bank)):
        for _ in range(20):
            words = set(bank.caption(index, 7, rng, complete=True).split())
            assert not words & {"he", "she", "they", "then", "now", "back"}


def test_a_motion_begins_after_the_first_frame_and_where_the_script_changes_it(
    folder: Path,
) -> None:
    bank = Bank(folder)
    switches = {index: bank.script(index).switch for index in range(len(bank))}
    assert {switch < 8 for switch in switches.values()} == {True, False}
    for index, switch in switches.items():
        assert bank.beginnings(index) == ((1, switch) if switch < 8 else (1,))
