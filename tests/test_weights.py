"""Model folders, written and read: the same bits, safetensors alone, no bad weights, no noise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import PREFERENCES, TINY_UNET, tiny_folder, tiny_model
from torch import Tensor, nn

from artv_cli.errors import ModelError
from artv_cli.model.folder import WEIGHTED_PARTS, find_model
from artv_cli.model.scheduler import load_schedule, paper_scheduler
from artv_cli.model.unet import ConditionedUNet
from artv_cli.model.weights import Model, load_model, save_model

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


def load(folder: Path, **how: Any) -> Model:
    return load_model(find_model(str(folder)), **how)


def parts(model: Model) -> dict[str, nn.Module]:
    networks = model.networks
    modules = networks.dynamic, networks.mask, model.vae, model.text.model
    return dict(zip(WEIGHTED_PARTS, modules, strict=True))


def weights_file(folder: Path, part: str) -> Path:
    [file] = (folder / part).glob("*.safetensors")
    return file


def rewrite(file: Path, change: Callable[[Weights], object]) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def change_config(file: Path, keys: list[str], value: object) -> None:
    holder = config = json.loads(file.read_text())
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    file.write_text(json.dumps(config))


def complaint(folder: Path, **how: Any) -> str:
    """Return what is said about a model that cannot be loaded: one line."""
    with pytest.raises(ModelError) as caught:
        load(folder, **how)
    assert "\n" not in caught.value.message and caught.value.remedy
    return caught.value.message


# ---------------------------------------------------------------- saved and loaded


def test_what_is_loaded_is_what_was_saved(pristine: Path) -> None:
    saved, loaded = tiny_model(), load(pristine)
    for part, module in parts(saved).items():
        theirs = parts(loaded)[part].state_dict()
        assert theirs.keys() == module.state_dict().keys()
        for name, weight in module.state_dict().items():
            assert torch.equal(weight, theirs[name]), (part, name)
    assert saved.static_noise == loaded.static_noise
    assert torch.equal(saved.schedule.sigmas, loaded.schedule.sigmas)
    assert torch.equal(saved.text(["the cat walks"]), loaded.text(["the cat walks"]))


def test_loaded_parts_are_ready_to_draw_and_not_to_learn(pristine: Path) -> None:
    for module in parts(load(pristine)).values():
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_part_is_loaded_in_the_dtype_asked_for(pristine: Path, dtype: Any) -> None:
    model = load(pristine, dtype=dtype)
    for module in parts(model).values():
        assert {parameter.dtype for parameter in module.parameters()} == {getattr(torch, dtype)}


def test_a_model_folder_holds_safetensors_and_nothing_that_runs(pristine: Path) -> None:
    suffixes = {file.suffix for file in pristine.rglob("*") if file.is_file()}
    assert suffixes == {".safetensors", ".json"}


def test_index_names_the_parts_as_diffusers_does(pristine: Path) -> None:
    index = json.loads((pristine / "model_index.json").read_text())
    assert index["_class_name"] == "ArtV"
    assert index["vae"] == ["diffusers", "AutoencoderKL"]
    assert index["text_encoder"] == ["transformers", "CLIPTextModel"]
    assert index["artv"] == PREFERENCES.model_dump(mode="json")


def test_a_model_loaded_elsewhere_and_saved_again_is_the_same_model(
    pristine: Path, tmp_path: Path
) -> None:
    """The libraries write into a config where a part was loaded from; a folder must not say."""
    save_model(tmp_path / "again", load(pristine), PREFERENCES)
    again = find_model(str(tmp_path / "again"))
    assert again.fingerprint == find_model(str(pristine)).fingerprint
    assert not [f for f in again.path.rglob("*.json") if str(pristine.parent) in f.read_text()]


def test_a_variant_is_loaded_where_a_part_has_it(folder: Path) -> None:
    file = weights_file(folder, "vae")
    shutil.copy(file, file.with_suffix(".fp16.safetensors"))
    rewrite(file, lambda weights: [weight.zero_() for weight in weights.values()])
    vae = load_model(find_model(str(folder), variant="fp16"), variant="fp16").vae
    assert any(parameter.any() for parameter in vae.parameters())
    assert not any(parameter.any() for parameter in load(folder).vae.parameters())


def test_weights_in_several_shards_are_loaded_and_all_needed(folder: Path) -> None:
    before = load(folder).networks.dynamic.state_dict()
    file = weights_file(folder, "dynamic")
    dynamic = load(folder).networks.dynamic
    file.unlink()
    dynamic.save_pretrained(file.parent, max_shard_size="500KB")
    shards = sorted(file.parent.glob("*.safetensors"))
    assert len(shards) > 1
    for name, weight in load(folder).networks.dynamic.state_dict().items():
        assert torch.equal(weight, before[name])
    shards[-1].unlink()
    assert "dynamic/ cannot be loaded" in complaint(folder)


# ---------------------------------------------------------------- what is wrong


def damage(change: Callable[[Weights, str], object]) -> Callable[[Path], None]:
    """Return what changes one weight of a file: its last one."""
    return lambda file: rewrite(file, lambda weights: change(weights, max(weights)))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda file: file.write_bytes(file.read_bytes()[:-100]), "its header speaks of"),
    "empty": (lambda file: file.write_bytes(b""), "is not a safetensors file"),
    "no safetensors": (
        lambda file: file.write_bytes(b"\xff" * 1000),
        "is not a safetensors file",
    ),
    "a weight is missing": (damage(dict.pop), "is missing"),
    "another shape": (damage(lambda w, name: w.update({name: w[name][:1].clone()})), "shape"),
    "not a number": (damage(lambda w, name: w[name].fill_(float("nan"))), "infinities or NaN"),
}


# One part of each library that loads; what the other two add is that they are named.
@pytest.mark.parametrize("part", ["dynamic", "text_encoder"])
@pytest.mark.parametrize(("harm", "said"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_weights_are_one_sentence_that_names_the_part(
    folder: Path, part: str, harm: Callable[[Path], object], said: str
) -> None:
    harm(weights_file(folder, part))
    message = complaint(folder)
    assert f"{part}/" in message
    assert said in message


LAYERS = {
    "dynamic": ["unet_config", "layers_per_block"],
    "mask": ["unet_config", "layers_per_block"],
    "vae": ["layers_per_block"],
    "text_encoder": ["num_hidden_layers"],
}


@pytest.mark.parametrize("layers", [200, 2**20, 2**31])
@pytest.mark.parametrize("part", WEIGHTED_PARTS)
def test_a_config_cannot_have_more_built_than_the_weights_allow(
    folder: Path, part: str, layers: int
) -> None:
    """A billion layers took all memory before anybody saw that their weights are missing.

    The last is more than may be said at all: a list of so many, of nothing yet, takes 16 GB.
    """
    change_config(folder / part / "config.json", LAYERS[part], layers)
    message = complaint(folder)
    assert message.endswith(
        f"{part}/ cannot be loaded: its config asks for more weights than its files hold"
    )


@pytest.mark.parametrize(
    ("part", "key"), [("text_encoder", "vocab_size"), ("text_encoder", "max_position_embeddings")]
)
def test_a_config_cannot_have_anything_built_wider_than_the_weights(
    folder: Path, part: str, key: str
) -> None:
    change_config(folder / part / "config.json", [key], 2**31)
    assert "asks for more weights than its files hold" in complaint(folder)


def test_words_that_the_encoder_has_no_row_for_are_told_before_anything_is_drawn(
    folder: Path,
) -> None:
    change_config(folder / "tokenizer" / "tokenizer.json", ["model", "vocab", "cat"], 2**31)
    assert "tokenizer/ cannot be loaded: it numbers words up to 2147483648" in complaint(folder)


@pytest.mark.parametrize("part", WEIGHTED_PARTS)
def test_every_part_is_checked(folder: Path, part: str) -> None:
    DAMAGES["not a number"][0](weights_file(folder, part))
    assert f"{part}/ cannot be loaded: " in complaint(folder)


@pytest.mark.parametrize("part", ["dynamic", "text_encoder"])
def test_whole_numbers_in_the_place_of_weights_are_refused_and_not_cast(
    folder: Path, part: str
) -> None:
    name = ""

    def quantise(weights: Weights) -> None:
        nonlocal name
        name = max(weights)
        weights[name] = weights[name].to(torch.int8)

    rewrite(weights_file(folder, part), quantise)
    message = complaint(folder)
    assert f"{part}/ cannot be loaded: {name} is I8, and weights are F16, BF16" in message


def test_positions_are_whole_numbers_and_are_let_through(folder: Path) -> None:
    """Text encoders of older libraries were written with them."""
    name, ids = "text_model.embeddings.position_ids", torch.arange(8)[None]
    rewrite(weights_file(folder, "text_encoder"), lambda weights: weights.update({name: ids}))
    assert load(folder)


def test_weights_too_large_for_half_precision_are_refused_there(folder: Path) -> None:
    rewrite(weights_file(folder, "mask"), lambda weights: weights[max(weights)].fill_(1e6))
    assert load(folder)
    assert "mask/ cannot be loaded" in complaint(folder, dtype="float16")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_broken_tokenizer_is_named(folder: Path, name: str) -> None:
    (folder / "tokenizer" / name).write_text("{")
    assert "tokenizer/ cannot be loaded" in complaint(folder)


def test_a_part_of_another_class_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "dynamic")
    tiny_model().networks.dynamic.unet.save_pretrained(folder / "dynamic")
    with pytest.raises(ModelError, match="dynamic/"):
        load(folder)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("mask", {}),  # four masks
        ("dynamic", {"out_channels": 1}),
        ("dynamic", {"in_channels": 8, "out_channels": 8}),
        ("dynamic", {"cross_attention_dim": 32}),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    folder: Path, part: str, change: dict[str, Any]
) -> None:
    ConditionedUNet({**TINY_UNET, **change}).save_pretrained(folder / part)
    assert f"{part}/ cannot be loaded: it maps" in complaint(folder)


# ---------------------------------------------------------------- the schedule


def test_the_papers_schedule_is_read_back(pristine: Path) -> None:
    ours = load_schedule(find_model(str(pristine))).alphas_cumprod
    torch.testing.assert_close(ours.float(), paper_scheduler().alphas_cumprod)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_what_a_model_predicts_and_its_schedule_are_kept(
    folder: Path, tmp_path: Path, prediction: str
) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    other = {"prediction_type": prediction, "beta_end": 0.0195}
    path.write_text(json.dumps({**json.loads(path.read_text()), **other}))
    found = find_model(str(folder))
    model = load_model(found)
    assert (model.networks.velocity is not None) == (prediction == "v_prediction")
    save_model(tmp_path / "copy", model, found.preferences)
    again = load_model(find_model(str(tmp_path / "copy")))
    assert (again.networks.velocity is None) == (model.networks.velocity is None)
    assert again.schedule.betas == (0.00085, 0.0195)


@pytest.mark.parametrize(
    "change",
    [
        {"prediction_type": "sample"},
        {"beta_schedule": "linear"},
        {"beta_schedule": None},
        {"beta_start": None},
        {"beta_end": "much"},
        {"beta_end": 1.5},
        {"num_train_timesteps": 500},
    ],
)
def test_another_schedule_or_prediction_is_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert "the scheduler " in complaint(folder)


# ---------------------------------------------------------------- shards


def test_a_model_cut_into_small_files_is_the_same_model(pristine: Path, tmp_path: Path) -> None:
    model, preferences = load(pristine), find_model(str(pristine)).preferences
    save_model(tmp_path / "cut", model, preferences, shard_bytes=600_000)
    files = list((tmp_path / "cut").rglob("*.safetensors"))
    assert len(list((tmp_path / "cut" / "dynamic").glob("*.safetensors"))) > 1
    assert max(file.stat().st_size for file in files) < 650_000
    again = load(tmp_path / "cut")
    for name, weight in model.networks.state_dict().items():
        assert torch.equal(weight, again.networks.state_dict()[name]), name


# ---------------------------------------------------------------- silence


def test_saving_and_loading_say_nothing_and_leave_the_libraries_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs = diffusers.utils.logging, transformers.utils.logging
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    folder = tiny_folder(tmp_path)
    load(folder)
    rewrite(weights_file(folder, "text_encoder"), lambda weights: weights.pop(max(weights)))
    complaint(folder)
    assert capfd.readouterr() == ("", "")
    assert [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs] == before
