"""Latents in shards: they are what training itself would make of the clips, and it takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from home_videos import film, shot
from safetensors.torch import load
from tiny import LATENT, SIZE, edit_json, tiny_folder

from artv_cli.errors import ArtvError, UsageError
from artv_cli.model.codec import Autoencoder
from artv_cli.model.folder import find_model
from artv_cli.model.weights import load_model
from artv_cli.prepare.preparation import Order, prepare
from artv_cli.train.session import Session
from artv_cli.train.shards import Make, find_samples
from artv_cli.train.training_recipe import load_training_recipe
from artv_cli.train.video_clips import Encoder, VideoClips

RECIPE = """
model: tiny
data: shards
samples: 4
batch_size: 2
precision: fp32
tensorboard: off
validation: {share: 0}
sheets: {every: 0}
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of square frames, a wide and a tall film, and shards with its latents of both."""
    folder = tmp_path_factory.mktemp("studio")
    tiny_folder(folder)
    film(folder / "videos" / "wide.mp4", shot("rocket", "up", "space", 10, (68, 120)), "a rocket")
    film(folder / "videos" / "tall.mp4", shot("cat", "jump", "snow", 12, (90, 64)), "a cat")
    (folder / "recipe.yaml").write_text(RECIPE)
    prepare_in(folder)
    return folder


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state()
    PartialState._reset_state()


def prepare_in(folder: Path) -> None:
    order = Order(
        places=(folder / "videos",), out=folder / "shards", size=64,
        latents=str(folder / "tiny"), device="cpu",
    )  # fmt: skip
    prepare(order, lambda line: None)


def own_vae(studio: Path) -> Autoencoder:
    return load_model(find_model(str(studio / "tiny"))).vae


def test_films_of_any_shape_have_latents_of_the_models_own_size(studio: Path) -> None:
    samples = find_samples([studio / "shards"])
    assert [sample.frames for sample in samples] == [12, 10]
    vae = find_model(str(studio / "tiny")).vae_fingerprint
    for sample in samples:
        assert sample.latents is not None and sample.make == Make(vae, LATENT)
        latents = load(sample.read(sample.latents))["latents"]
        assert latents.shape == (sample.frames, *LATENT) and latents.dtype == torch.float16
        told = f'"latents": {{"vae": "{vae}", "size": [32, 32], "shape": [4, 8, 8]}}'
        assert told.encode() in sample.shard.read_bytes()


def test_latents_are_what_training_makes_of_the_same_clip(studio: Path) -> None:
    samples = find_samples([studio / "shards"])
    encoder = Encoder(own_vae(studio), SIZE)
    stored = VideoClips(samples, encoder, workers=1)
    anew = VideoClips([replace(s, latents=None) for s in samples], encoder, workers=1)
    for clip in range(len(samples)):
        truth = anew.latents(clip)
        assert (stored.latents(clip) - truth).abs().max() < 1e-3 * truth.abs().max()
    stored.close()
    anew.close()


def test_training_takes_the_latents_of_wide_and_tall_films_and_encodes_nothing(
    studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("a film was decoded or encoded anew")

    monkeypatch.setattr(Encoder, "__call__", fail)
    monkeypatch.setattr(VideoClips, "pictures", fail)
    said: list[str] = []
    recipe = load_training_recipe(studio / "recipe.yaml")
    outcome = Session(recipe, tmp_path / "run", device="cpu", say=said.append).run()
    assert outcome.samples == 4
    assert not [line for line in said if "anew" in line or "skipped" in line]


def test_where_a_cards_memory_is_spent_another_device_is_named(
    studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Encoder, "__call__", fail)
    order = Order(
        places=(studio / "videos",), out=tmp_path / "shards", size=64,
        latents=str(studio / "tiny"), device="cpu",
    )  # fmt: skip
    with pytest.raises(ArtvError, match="no memory left: CUDA out of memory") as caught:
        prepare(order, lambda line: None)
    assert "--device cpu" in caught.value.remedy and "--offload" not in caught.value.remedy


def test_begun_work_does_not_go_on_for_another_size(studio: Path, tmp_path: Path) -> None:
    edit_json(
        studio / "tiny" / "model_index.json", lambda index: index["artv"].update(size=[64, 32])
    )
    with pytest.raises(UsageError, match="another order: latents was .*32, 32.* and is .*64, 32"):
        prepare_in(studio)
