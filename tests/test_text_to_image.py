"""Text-to-image folders, found and judged without loading anything."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects
from tiny import edit_json
from tiny_base import SIDE, tiny_base

from artv_cli.errors import ModelError, UsageError
from artv_cli.model.repository import INDEX
from artv_cli.model.text_to_image import TextToImageFolder, find_text_to_image

PARTS = {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "painter"
    tiny_base(folder)
    return folder


def test_a_folder_says_what_the_plan_needs_to_know(pristine: Path) -> None:
    model = find_text_to_image(pristine.name, folder=pristine.parent)
    assert (model.name, model.path, model.side) == ("painter", pristine, SIDE)
    assert set(model.networks) == {"unet", "vae", "text_encoder"}
    assert model.networks["unet"] == ("diffusers", "UNet2DConditionModel")
    assert model.name_from(pristine.parent / "films") == "../painter"
    assert find_text_to_image(str(pristine)).name_from(Path()) == str(pristine)


def test_a_revision_of_a_folder_is_refused(pristine: Path) -> None:
    with pytest.raises(UsageError, match="revision abc is for a hub id, and .* is none") as refused:
        find_text_to_image(str(pristine), revision="abc")
    assert "`key_frame`" in str(refused.value.remedy)


def test_the_fingerprint_covers_every_bit_that_decides_and_no_name(
    pristine: Path, folder: Path
) -> None:
    def told() -> str:
        return find_text_to_image(str(folder)).fingerprint

    seen = {find_text_to_image(str(pristine)).fingerprint}
    assert {told()} == seen
    edit_json(folder / INDEX, lambda index: index.update(_name_or_path="elsewhere"))
    assert {told()} == seen
    for change in (
        lambda: edit_json(folder / INDEX, lambda index: index.update(force_zeros=True)),
        lambda: edit_json(folder / "scheduler/scheduler_config.json", lambda c: c.update(a=1)),
        lambda: (folder / "tokenizer/more.model").write_text("a vocabulary"),
        lambda: _turn_a_bit(folder / "unet/diffusion_pytorch_model.safetensors"),
    ):
        change()
        assert told() not in seen
        seen.add(told())


def _turn_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((1024, 1024), (1024, 1024)),
        ((320, 320), (1024, 1024)),
        ((512, 320), (1280, 832)),
        ((128, 64), (1472, 704)),
        ((2048, 1024), (2048, 1024)),
        ((8, 8), (1024, 1024)),
    ],
)
def test_a_picture_is_drawn_as_large_as_the_model_knows_them_in_the_films_shape(
    size: tuple[int, int], drawn: tuple[int, int]
) -> None:
    model = TextToImageFolder("sdxl", Path(), "", networks={}, side=1024)
    assert model.drawn_size(size) == drawn


@pytest.mark.parametrize(
    ("unet", "vae", "side"),
    [
        ({"sample_size": 128}, {"block_out_channels": [1, 2, 3, 4]}, 1024),
        ({"sample_size": 32}, {"encoder_block_out_channels": [1] * 6}, 1024),
        ({"sample_size": 64}, {"block_out_channels": [1, 2, 3, 4]}, 512),
        ({}, {"block_out_channels": [1, 2, 3, 4]}, 1024),
        ({"sample_size": [64, 96]}, {}, 1024),
        ({"sample_size": 10**400}, {"block_out_channels": [1, 2, 3, 4]}, 1024),
        ({"sample_size": -64}, {"block_out_channels": [1, 2, 3, 4]}, 1024),
        ({"sample_size": 64}, {"block_out_channels": "wide"}, 1024),
    ],
)
def test_the_side_it_was_trained_at_is_told_by_its_configs(
    folder: Path, unet: dict[str, Any], vae: dict[str, Any], side: int
) -> None:
    (folder / "unet/config.json").write_text(json.dumps(unet))
    (folder / "vae/config.json").write_text(json.dumps(vae))
    assert find_text_to_image(str(folder)).side == side


# ---------------------------------------------------------------- from the hub


def test_from_the_hub_come_the_index_and_then_the_parts_that_it_names(
    pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [INDEX, "README.md", "unet/unet.py", "sd_xl_base.safetensors", "vae_1_0/config.json"]
    files += [
        f"{part}/{name}" for part in PARTS for name in ("config.json", "w.bin", "a.b.safetensors")
    ]
    files += ["unet/diffusion_pytorch_model.safetensors", "tokenizer/spiece.model"]
    fetched: list[set[str]] = []

    def download(name: str, **how: Any) -> str:
        assert (name, how["revision"]) == ("someone/painter", "v2")
        patterns = {k: how[k] for k in ("allow_patterns", "ignore_patterns")}
        fetched.append(set(filter_repo_objects(files, **patterns)))
        return str(pristine)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    model = find_text_to_image("someone/painter", "v2")
    assert model.name_from(Path("films")) == "someone/painter"
    assert fetched[0] == {INDEX}
    assert fetched[1] == {
        INDEX, *(f"{part}/config.json" for part in PARTS), "tokenizer/spiece.model",
        "unet/diffusion_pytorch_model.safetensors",
    }  # fmt: skip


# ---------------------------------------------------------------- what is refused


def _pickles(folder: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _variants(folder: Path) -> None:
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))


def _cut_short(folder: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def _processor_with_code(folder: Path) -> None:
    """Left to itself, transformers asks on the terminal whether to run it."""
    inner = {"image_processor_type": "Evil", "auto_map": {"AutoImageProcessor": "evil.Evil"}}
    config = {"processor_class": "CLIPProcessor", "parts": [{"image_processor": inner}]}
    (folder / "tokenizer" / "preprocessor_config.json").write_text(json.dumps(config))


def _timesteps_without_end(folder: Path) -> None:
    config = folder / "scheduler" / "scheduler_config.json"
    edit_json(config, lambda content: content.update(num_train_timesteps=2**31))


def index_with(**entries: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / INDEX, lambda index: index.update(entries))


@pytest.mark.parametrize(
    ("damage", "told", "advice"),
    [
        (_pickles, "unet/ holds no safetensors weights", "may be a pickle, which artv never opens"),
        (_variants, "vae/ holds no safetensors", "say `variant:` in `key_frame:`, as in fp16"),
        (_cut_short, "and its header speaks of", "Fetch the file again"),
        (lambda folder: shutil.rmtree(folder / "vae"), "vae/ is missing", "Fetch the model again"),
        (lambda folder: (folder / INDEX).unlink(), "model_index.json is missing", "starts with"),
        (lambda folder: (folder / INDEX).write_text("{"), "cannot be read", "Fetch"),
        (index_with(_class_name="UNet2DConditionModel"), "holds no pipeline", "text-to-image"),
        (index_with(_class_name=None), "holds no pipeline", "text-to-image"),
        (index_with(artv={}), "holds an artv model", "Leave `key_frame` out"),
        (index_with(_class_name=["my_pipeline", "Mine"]), "its pipeline is of neither", "Name"),
        (index_with(unet=["my_unet", "MyUNet"]), "its part unet is of neither", "Name"),
        (_processor_with_code, "its part tokenizer is of neither", "Name"),
        (_timesteps_without_end, "a larger number than any scheduler has", "Fetch"),
        (index_with(unet=["diffusers", None]), "its part unet is of neither", "Name"),
        (index_with(**{"../unet": ["diffusers", "X"]}), "its part ../unet is of neither", "Name"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(
    folder: Path, damage: Callable[[Path], object], told: str, advice: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError) as caught:
        find_text_to_image(str(folder))
    assert told in caught.value.message and "\n" not in caught.value.message
    assert advice in caught.value.remedy


def test_weights_that_are_a_pipe_are_named_and_never_read(folder: Path, no_waiting: None) -> None:
    os.mkfifo(folder / "unet" / "more.safetensors")
    with pytest.raises(ModelError, match=r"more\.safetensors"):
        find_text_to_image(str(folder))


def test_a_variant_that_is_asked_for_is_taken(folder: Path) -> None:
    _variants(folder)
    assert find_text_to_image(str(folder), variant="fp16").variant == "fp16"


@pytest.mark.parametrize("name", ["no-such-folder", "./nowhere", "a/b/c"])
def test_a_model_that_is_nowhere_is_told_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="there is no model") as caught:
        find_text_to_image(name, folder=tmp_path)
    assert "text-to-image pipeline" in caught.value.remedy
