"""`artv train storybook`: from nothing to a model that draws, in one go or in pieces."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from diffusers import AutoencoderKL
from safetensors.torch import load_file

import artv_cli.train.storybook_session as room
from artv_cli.artv_engine import load_engine
from artv_cli.engine import FrameRequest
from artv_cli.errors import CacheLocked, ModelError, UsageError
from artv_cli.model.folder import find_model
from artv_cli.model.repository import file_digest
from artv_cli.model.unet import ConditionedUNet
from artv_cli.model.weights import load_model
from artv_cli.train.budget import Budget
from artv_cli.train.preset import CPU, GPU, PRESETS, Preset
from artv_cli.train.recipe import Recipe
from artv_cli.train.run_folder import Outcome, alone
from artv_cli.train.storybook import (
    PREFERENCES,
    NetworkSizes,
    UNetSize,
    build_learner,
)
from artv_cli.train.storybook_session import StorybookSession
from artv_cli.train.vae_recipe import VaeRecipe, build_vae

TINY = Preset(
    name="tiny",
    place="cpu",
    vae=VaeRecipe(widths=(4, 4, 4, 4), clips=2, crop=32, warmup=1, ema=0.5),
    vae_budget=Budget(steps=2),
    clips=4,
    length=3,
    shard=2,
    networks=NetworkSizes(UNetSize((8, 8, 8), (1, 1, 1)), UNetSize((8, 8, 8), (1, 1, 1))),
    recipe=Recipe(samples=4, batch_size=2, learning_rate=1e-3, loss_of="velocity"),
)


@pytest.fixture(scope="module", autouse=True)
def few_clips_are_looked_at() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("artv_cli.train.vae.LOOKED_AT", 4)
        yield


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state()
    PartialState._reset_state()


def run(out: Path, seconds: float = float("inf"), preset: Preset = TINY, **how: Any) -> Outcome:
    return StorybookSession(preset, out, **how).run(seconds)


@pytest.fixture(scope="module")
def finished(few_clips_are_looked_at: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that went through in one go."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out) == Outcome(2, 4, out / "model")
    AcceleratorState._reset_state()
    PartialState._reset_state()
    return out


def contents(model: Path) -> dict[str, str]:
    files = (file for file in model.rglob("*") if file.is_file())
    return {str(file.relative_to(model)): file_digest(file) for file in files}


# ---------------------------------------------------------------- the presets


def parameters(preset: Preset) -> int:
    with torch.device("meta"):
        learner = build_learner(preset.vae.channels, sizes=preset.networks)
    return sum(parameter.numel() for parameter in learner.networks.parameters())


def test_the_gpu_preset_has_25_to_30_million_parameters_in_its_networks() -> None:
    assert 25e6 <= parameters(GPU) <= 30e6
    assert GPU.compiled and GPU.recipe.bfloat16 and GPU.recipe.batch_size == 512


def test_each_preset_ships_in_less_than_60_megabytes() -> None:
    for preset in PRESETS.values():
        with torch.device("meta"):
            text = build_learner(preset.vae.channels).text
            parts = [text, build_vae(preset.vae)]
        rest = sum(p.numel() for part in parts for p in part.parameters())
        assert 2 * (parameters(preset) + rest) < 59e6, preset.name


def test_the_cpu_preset_is_what_the_readme_says() -> None:
    assert CPU.vae_budget == Budget(seconds=34 * 60)
    assert (CPU.clips, CPU.length, CPU.recipe.samples) == (5000, 16, 300_000)
    assert 11.6e6 < parameters(CPU) < 11.8e6


def test_a_preset_for_a_card_is_refused_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--preset gpu needs a card"):
        StorybookSession(GPU, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- the whole road


def test_what_was_trained_draws(finished: Path) -> None:
    folder = find_model(str(finished / "model"))
    assert folder.preferences == PREFERENCES
    engine = load_engine(folder, device="cpu")
    sampling = replace(PREFERENCES.sampling, sampler="euler", steps=1)
    frame = engine.key_frame(FrameRequest("a cat", 0, (128, 128), sampling))
    assert engine.decode(frame).shape == (128, 128, 3)


@pytest.mark.parametrize("killed_before", ["bank.build_bank", "Trainer", "export"])
def test_a_training_killed_between_two_pieces_ends_in_the_same_model(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_before: str
) -> None:
    def kill(*anything: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"artv_cli.train.storybook_session.{killed_before}", kill)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert not (tmp_path / "model").exists()
    run(tmp_path)
    assert contents(tmp_path / "model") == contents(finished / "model")


def test_a_training_killed_within_its_pieces_ends_in_the_same_model(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, seconds=0) == Outcome(0, 0, None)  # a state of the autoencoder, no more
    assert not (tmp_path / "bank").exists()
    steps = iter([None, KeyboardInterrupt])  # one step of the networks, then the end
    step = room.Trainer.train_step

    def train_step(trainer: Any) -> Any:
        if (killed := next(steps)) is not None:
            trainer.save()
            raise killed
        return step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(room.Trainer, "train_step", train_step)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    shard = sorted((tmp_path / "bank").glob("clips-*"))[0]
    shard.unlink()
    outcome = run(tmp_path, seconds=0)  # no time for what is missing of the bank
    assert (outcome.model, shard.exists()) == (None, False)
    assert run(tmp_path).step == 2
    assert contents(tmp_path / "model") == contents(finished / "model")


def test_without_time_a_training_under_way_writes_the_model_of_what_it_has(
    finished: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    preset = replace(TINY, recipe=replace(TINY.recipe, log_interval=1))
    assert run(tmp_path, preset=preset, say=said.append, samples=2).step == 1
    assert any(line.startswith("networks: step 1: loss") for line in said)
    assert any(line.startswith("autoencoder: step 2: ") for line in said)
    assert any(line.startswith("bank: 4 of 4 clips") for line in said)
    assert run(tmp_path, seconds=0) == Outcome(1, 2, tmp_path / "model")
    assert contents(tmp_path / "model") != contents(finished / "model")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of dynamo, which hides its own in vain
def test_networks_that_are_compiled_leave_a_state_and_a_model_like_others(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(
        ConditionedUNet,
        "compile",  # as it is, but without a compiler of C++
        lambda network: compiled.append(torch.nn.Module.compile(network, backend="eager")),
    )
    run(tmp_path, preset=replace(TINY, compiled=True))
    assert len(compiled) == 2
    one, other = (load_file(out / "networks/state.safetensors") for out in (tmp_path, finished))
    assert one.keys() == other.keys()
    load_model(find_model(str(tmp_path / "model")))


# ---------------------------------------------------------------- beginning with what is there


def test_a_vae_that_was_put_there_is_taken_as_it_is(tmp_path: Path) -> None:
    build_vae(replace(TINY.vae, seed=9)).save_pretrained(tmp_path / "vae")
    before = contents(tmp_path / "vae")
    run(tmp_path)
    assert contents(tmp_path / "vae") == before


def test_networks_never_go_on_with_latents_of_another_vae(tmp_path: Path) -> None:
    run(tmp_path, samples=2)
    shutil.rmtree(tmp_path / "vae")
    build_vae(replace(TINY.vae, seed=9)).save_pretrained(tmp_path / "vae")
    with pytest.raises(UsageError, match="another vae"):
        run(tmp_path)
    shutil.rmtree(tmp_path / "bank")
    with pytest.raises(UsageError, match="it began with another autoencoder"):
        run(tmp_path)


def test_a_vae_is_read_from_safetensors_and_never_unpickled(tmp_path: Path) -> None:
    build_vae(TINY.vae).save_pretrained(tmp_path / "vae", safe_serialization=False)
    with pytest.raises(ModelError, match="safetensors"):
        run(tmp_path)
    assert not (tmp_path / "bank").exists()


def test_a_training_starts_from_a_model_its_vae_and_its_networks(
    finished: Path, tmp_path: Path
) -> None:
    model = finished / "model"
    outcome = run(tmp_path, start_from=str(model), samples=2)
    assert outcome.step == 1
    vaes = [AutoencoderKL.from_pretrained(folder / "vae") for folder in (model, tmp_path)]
    for one, other in zip(*(vae.parameters() for vae in vaes), strict=True):
        assert torch.equal(one, other.half())
    base = load_model(find_model(str(model))).networks.state_dict()
    for name, weight in load_file(tmp_path / "networks" / "state.safetensors").items():
        if name.startswith("weights/networks."):  # one step away
            there = base[name.removeprefix("weights/networks.")]
            torch.testing.assert_close(weight, there, atol=2e-3, rtol=0)


def test_all_processes_have_as_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agreed: list[float] = []
    monkeypatch.setattr(
        "artv_cli.train.storybook_session.agree",
        lambda seconds, device: agreed.append(seconds) or 0.0,
    )
    assert run(tmp_path, seconds=1000) == Outcome(0, 0, None)
    assert agreed and all(990 < seconds <= 1000 for seconds in agreed)


def test_only_the_decoder_is_trained_and_the_rest_of_the_model_stays(
    finished: Path, tmp_path: Path
) -> None:
    outcome = run(tmp_path, start_from=str(finished / "model"), decoder_only=True)
    assert outcome == Outcome(0, 0, tmp_path / "model")
    before, after = contents(finished / "model"), contents(tmp_path / "model")
    changed = {file for file in before if before[file] != after[file]}
    assert changed == {"vae/diffusion_pytorch_model.safetensors"}
    weights = [
        load_file(model / "vae" / "diffusion_pytorch_model.safetensors")
        for model in (finished / "model", tmp_path / "model")
    ]
    moved = {name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])}
    assert moved and all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)


def test_a_model_of_another_size_is_refused_before_anything_is_trained(
    finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="its networks are of another size"):
        StorybookSession(CPU, tmp_path / "run", start_from=str(finished / "model"))
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- whose folder it is


def test_a_folder_is_gone_on_with_by_what_it_was_begun_with(finished: Path, tmp_path: Path) -> None:
    model = str(finished / "model")
    run(tmp_path, seconds=0, start_from=model)
    with pytest.raises(UsageError, match="begun with another --start-from"):
        StorybookSession(TINY, tmp_path)
    with pytest.raises(UsageError, match="begun with another --preset"):
        StorybookSession(replace(TINY, name="other"), tmp_path, start_from=model)
    with pytest.raises(UsageError, match="begun with another --decoder-only"):
        StorybookSession(TINY, tmp_path, start_from=model, decoder_only=True)


def test_pieces_that_were_trained_one_by_one_are_gone_on_with(
    finished: Path, tmp_path: Path
) -> None:
    """As the commands left them that there were before this one."""
    run(tmp_path, samples=2)
    (tmp_path / "storybook.json").unlink()
    for file in sorted((tmp_path / "model").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (tmp_path / "model").rmdir()
    assert run(tmp_path).samples == 4
    assert json.loads((tmp_path / "storybook.json").read_text())["preset"] == "tiny"


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(CacheLocked, match="Another process trains in"):
        StorybookSession(TINY, tmp_path)


def test_a_model_that_the_training_has_not_made_is_not_written_over(
    finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match="no training has made it: storybook.json is missing"):
        StorybookSession(TINY, tmp_path)
    with pytest.raises(UsageError, match="would write over"):
        StorybookSession(TINY, finished, start_from=str(finished / "model"))
