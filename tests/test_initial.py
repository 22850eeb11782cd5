"""A fresh model of a base: its key frames are the base's images, and it is there whole or not."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny import noise
from tiny_base import SIDE, VERSION_1, save_as_ldm, tiny_base

from artv_cli.artv_engine import load_engine
from artv_cli.diffusion.noise import INITIAL, gaussian
from artv_cli.diffusion.schedule import Schedule
from artv_cli.engine import FrameRequest
from artv_cli.errors import ModelError, StorageError, UsageError
from artv_cli.model import initial
from artv_cli.model.artv import MASK_UNET, SD21_UNET
from artv_cli.model.base import Base, find_base
from artv_cli.model.folder import ModelFolder, find_model
from artv_cli.model.initial import PAPER_SAMPLING, mask_config, write_initial_model
from artv_cli.model.ldm import load_ldm_part
from artv_cli.model.unet import ConditionedUNet, NetworkConditions
from artv_cli.model.weights import load_model

STEPS, SEED = 4, 3
SIZE = (SIDE, SIDE)
Pipeline = StableDiffusionPipeline


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Pipeline, Base]]:
    """The same random Stable Diffusion in every form that artv reads."""
    parent = tmp_path_factory.mktemp("bases")
    found = {}
    for name, how in {
        "noise": {},
        "velocity": {"prediction": "v_prediction"},
        "version 1": {"unet": VERSION_1},
    }.items():
        pipeline = tiny_base(parent / name, **how)
        found[name] = pipeline, find_base(str(parent / name))
        if name != "version 1":
            file = parent / f"{name}.safetensors"
            save_as_ldm(pipeline, file)
            told = pipeline.scheduler.config.prediction_type
            base = find_base(str(file), prediction=told, tokenizer=str(parent / name))
            found[f"{name}, one file"] = pipeline, base
    return found


@pytest.fixture(scope="module")
def base(bases: dict[str, tuple[Pipeline, Base]]) -> Base:
    return bases["noise"][1]


def schedulers(prediction: str) -> dict[str, Any]:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    how = {**betas, "prediction_type": prediction, "timestep_spacing": "leading"}
    return {
        "euler": EulerDiscreteScheduler(**how),
        "dpmpp_2m": DPMSolverMultistepScheduler(**how, final_sigmas_type="zero"),
    }


def theirs(pipeline: Pipeline) -> torch.Tensor:
    """Return the latents that diffusers' own pipeline draws from our noise at our timesteps."""
    return pipeline(
        "a cat",
        height=SIDE,
        width=SIDE,
        guidance_scale=1 + PAPER_SAMPLING.guidance.text,
        timesteps=Schedule.scaled_linear().timesteps(STEPS),
        latents=gaussian(SEED, INITIAL, (1, 4, SIDE // 8, SIDE // 8)),
        output_type="latent",
    ).images


def pixels(pipeline: Pipeline, latents: torch.Tensor) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        image = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    [picture] = pipeline.image_processor.postprocess(image, output_type="np")
    return np.round(picture * 255)


# ---------------------------------------------------------------- the base's own images


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "name", ["noise", "velocity", "noise, one file", "velocity, one file", "version 1"]
)
def test_a_fresh_key_frame_is_the_image_of_diffusers_own_pipeline(
    bases: dict[str, tuple[Pipeline, Base]], name: str, tmp_path: Path
) -> None:
    """Same sampler, same noise; the most that differs is float32 rounding over all steps."""
    pipeline, base = bases[name]
    write_initial_model(base, tmp_path / "model")
    model = find_model(str(tmp_path / "model"))
    engine = load_engine(model, device="cpu")
    for sampler, scheduler in schedulers(base.prediction).items():
        pipeline.scheduler = scheduler
        how = replace(model.preferences.sampling, sampler=sampler, steps=STEPS)
        frame = engine.key_frame(FrameRequest("a cat", seed=SEED, size=SIZE, sampling=how))
        ours = np.frombuffer(frame.data, "<f4").reshape(frame.shape)
        expected = theirs(pipeline)
        difference = np.abs(ours - expected[0].numpy()).max() / expected.abs().max().item()
        # Of the largest value. A denoised latent is x less sigma times the noise: where velocity
        # becomes noise first, and sigma is 14.6, rounding weighs that much more.
        assert difference <= (8e-6 if base.prediction == "epsilon" else 2e-5), sampler
        picture = pixels(pipeline, expected)
        assert np.abs(engine.decode(frame) - picture).max() <= 1  # of 255
        assert picture.std() > 10  # a picture, if of nothing


@pytest.mark.parametrize("name", ["noise", "velocity", "version 1"])
def test_the_fresh_network_predicts_what_the_base_does_whatever_it_is_conditioned_on(
    bases: dict[str, tuple[Pipeline, Base]], name: str
) -> None:
    """To the bit, at every noise level: references, anchor and noise level are silent."""
    pipeline, base = bases[name]
    network = ConditionedUNet.from_base(pipeline.unet, base.unet_config)
    text, references, anchor = noise(1, 8, 64), noise(1, 8, 8, 8, seed=1), noise(1, 4, 8, 8, seed=2)
    with torch.inference_mode():
        conditions = NetworkConditions(
            network.prepare_references(references),
            network.prepare_anchor(anchor),
            network.prepare_text(text),
            network.prepare_level(torch.tensor([200])),
        )
        for timestep in (999, 500, 1):
            y_t, time = noise(1, 4, 8, 8, seed=timestep), torch.tensor([timestep])
            ours, expected = network(y_t, time, conditions), pipeline.unet(y_t, time, text).sample
            assert torch.equal(ours, expected), (ours - expected).abs().max()


def test_taking_over_a_base_copies_none_of_its_weights(
    bases: dict[str, tuple[Pipeline, Base]],
) -> None:
    pipeline, base = bases["noise"]
    network = ConditionedUNet.from_base(pipeline.unet, base.unet_config)
    assert network.unet.conv_in.weight.data_ptr() == pipeline.unet.conv_in.weight.data_ptr()
    assert not any(parameter.is_meta for parameter in network.parameters())


# ---------------------------------------------------------------- the folder


@pytest.fixture(scope="module")
def fresh(base: Base, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    out = tmp_path_factory.mktemp("fresh")  # there, and empty
    write_initial_model(base, out)
    return find_model(str(out))


def test_the_fresh_model_likes_what_the_paper_does(fresh: ModelFolder) -> None:
    liked = fresh.preferences
    assert liked.sampling == PAPER_SAMPLING
    assert (liked.size, liked.dtype, liked.static_noise) == ((320, 320), "float32", "exact")


def test_one_base_always_becomes_the_same_model_and_leaves_the_random_state_alone(
    base: Base, fresh: ModelFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    said: list[str] = []
    write_initial_model(base, tmp_path / "again", say=said.append)
    again = find_model(str(tmp_path / "again"))
    assert again.fingerprint == fresh.fingerprint
    drawn = torch.rand(4)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(4))
    parts = ("dynamic", "mask", "vae", "text_encoder", "tokenizer", "scheduler")
    assert said == [f"writing {part}" for part in parts]
    assert capfd.readouterr() == ("", "")


def test_the_mask_of_stable_diffusion_2_is_that_of_table_2() -> None:
    assert mask_config(SD21_UNET) == MASK_UNET


def test_half_precision_is_written_and_liked(base: Base, tmp_path: Path) -> None:
    write_initial_model(base, tmp_path / "model", dtype="float16", size=(128, 64))
    model = find_model(str(tmp_path / "model"))
    assert (model.preferences.dtype, model.preferences.size) == ("float16", (128, 64))
    for file in model.path.rglob("*.safetensors"):
        assert {weight.dtype for weight in load_file(file).values()} == {torch.float16}, file
    assert load_model(model, dtype="float16")


def test_a_single_file_in_half_precision_is_read(
    bases: dict[str, tuple[Pipeline, Base]], tmp_path: Path
) -> None:
    base = bases["noise, one file"][1]
    half = {name: weight.half() for name, weight in load_file(base.path).items()}
    save_file(half, tmp_path / "half.safetensors")
    unet = load_ldm_part(tmp_path / "half.safetensors", "half", "unet", base.configs["unet"])
    told = half["model.diffusion_model.input_blocks.0.0.weight"]
    assert torch.equal(unet.conv_in.weight.float(), told.float())


def test_a_base_in_shards_is_read(tmp_path: Path) -> None:
    tiny_base(tmp_path, max_shard_size="2MB")
    assert len(list((tmp_path / "unet").glob("*.safetensors"))) > 1
    unet = initial._load(find_base(str(tmp_path)), "unet", torch.float32)
    assert not any(parameter.is_meta for parameter in unet.parameters())


# ---------------------------------------------------------------- whole or not at all


def test_a_folder_that_holds_something_is_refused_and_left_alone(
    base: Base, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="--out: .* is there already, and holds something"):
        write_initial_model(base, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_init_leaves_nothing(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(message: str) -> None:
        if "mask" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_initial_model(base, tmp_path / "model", say=stop)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small_is_told_before_anything_is_read(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(initial.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    said: list[str] = []
    with pytest.raises(StorageError, match="the model takes 0.0 GB, and there is room for 0.0"):
        write_initial_model(base, tmp_path / "model", say=said.append)
    assert not said and not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_is_a_storage_error_and_leaves_nothing(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        told = f"Error while serializing: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)"
        raise SafetensorError(told)

    monkeypatch.setattr(ConditionedUNet, "save_pretrained", full)
    with pytest.raises(StorageError, match="No space left"):
        write_initial_model(base, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path) -> None:
    tiny_base(tmp_path / "base")
    [file] = (tmp_path / "base" / "unet").glob("*.safetensors")
    weights = load_file(file)
    weights[max(weights)] = weights[max(weights)][:1].clone()
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="unet/ cannot be loaded") as caught:
        write_initial_model(find_base(str(tmp_path / "base")), tmp_path / "model")
    assert "\n" not in caught.value.message
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("model.diffusion_model.out.0.bias", "unet"),
        ("first_stage_model.encoder.conv_in.bias", "vae"),
        ("cond_stage_model.model.ln_final.bias", "text_encoder"),
    ],
)
@pytest.mark.parametrize("harm", ["missing", "shape", "not a number"])
def test_a_single_file_with_bad_weights_is_refused(
    bases: dict[str, tuple[Pipeline, Base]], tmp_path: Path, key: str, part: str, harm: str
) -> None:
    base = bases["noise, one file"][1]
    weights = load_file(base.path)
    match harm:
        case "missing":
            del weights[key]
        case "shape":
            weights[key] = weights[key][:-1].clone()
        case _:
            weights[key].fill_(float("nan"))
    save_file(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ModelError, match=f"{part}/ cannot be loaded") as caught:
        load_ldm_part(tmp_path / "bad.safetensors", "bad", part, base.configs[part])
    assert "\n" not in caught.value.message


def test_a_vocabulary_larger_than_the_text_encoder_is_refused(base: Base) -> None:
    small = {**base.configs, "text_encoder": {**base.configs["text_encoder"], "vocab_size": 9}}
    with pytest.raises(ModelError, match="tokenizer/ cannot be loaded: it numbers words up to"):
        initial._tokenizer(replace(base, configs=small))


def test_a_size_that_the_networks_cannot_draw_is_refused(base: Base, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--size: 100x64 does not suit the base"):
        write_initial_model(base, tmp_path / "model", size=(100, 64))
