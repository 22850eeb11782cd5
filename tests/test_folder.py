"""Model folders, found and judged without loading anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects
from tiny import LATENT, PREFERENCES, SIZE, edit_json, tiny_folder

import artv_cli.model.folder as folder_module
from artv_cli.errors import ModelError, UsageError
from artv_cli.model.folder import (
    EMBEDDED_MODELS,
    INDEX,
    PARTS,
    WEIGHTED_PARTS,
    embedded_models,
    find_model,
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


def complaint(folder: Path) -> str:
    """Return what is said about a folder that cannot be used: one line."""
    with pytest.raises(ModelError) as caught:
        find_model(str(folder))
    assert "\n" not in caught.value.message and caught.value.remedy
    return caught.value.message


def advice(folder: Path) -> str:
    """Return what to do about a folder that cannot be used."""
    with pytest.raises(ModelError) as caught:
        find_model(str(folder))
    return caught.value.remedy


# ---------------------------------------------------------------- finding


def test_a_folder_says_what_the_plan_needs_to_know(pristine: Path) -> None:
    model = find_model(str(pristine))
    assert (model.name, model.path) == (str(pristine), pristine)
    assert model.preferences == PREFERENCES
    assert (model.autoencoder, model.latent_channels, model.downsampling) == ("AutoencoderKL", 4, 4)
    assert model.size_multiple == 4 * 2  # the autoencoder's, times the network's one halving
    channels, height, width = LATENT
    assert model.latent_bytes(SIZE, "float32") == channels * height * width * 4
    assert model.latent_bytes(SIZE, "float16") == channels * height * width * 2


def test_an_embedded_model_is_found_by_its_name(
    pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "EMBEDDED_MODELS", {"tiny": pristine, "lost": Path("no")})
    assert find_model("tiny").path == pristine
    assert embedded_models() == ["tiny"]


HUB = [
    INDEX, "README.md", "code.py", "everything.safetensors", "dynamic/config.json",
    "dynamic/diffusion_pytorch_model.safetensors", "dynamic/diffusion_pytorch_model.bin",
    "dynamic/diffusion_pytorch_model.fp16.safetensors", "safety_checker/model.safetensors",
]  # fmt: skip


class Hub:
    """Stands in for the hub: `fetched` tells, call by call, which of `HUB`'s files were fetched."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str | None]] = []
        self.fetched: list[set[str]] = []
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self._download)

    def _download(self, name: str, *, revision: str | None, **how: Any) -> str:
        self.asked.append((name, revision))
        self.fetched.append(set(filter_repo_objects(HUB, **how)))
        return str(self.folder)


def test_a_hub_id_is_fetched_at_its_revision_the_index_first_then_its_parts_without_pickles(
    pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(pristine, monkeypatch)
    assert find_model("someone/tiny", revision="abc").path == pristine
    assert hub.asked == [("someone/tiny", "abc")] * 2
    part = {"dynamic/config.json", "dynamic/diffusion_pytorch_model.safetensors"}
    assert hub.fetched == [{INDEX}, {INDEX, *part}]
    find_model("someone/tiny", variant="fp16")
    variant = "dynamic/diffusion_pytorch_model.fp16.safetensors"
    assert hub.fetched[2:] == [{INDEX}, {INDEX, *part, variant}]


def test_a_revision_of_what_is_not_on_the_hub_is_refused(
    pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "EMBEDDED_MODELS", {"tiny": pristine})
    for name in ("tiny", str(pristine)):
        with pytest.raises(UsageError, match="revision abc is for a hub id, and .* is none"):
            find_model(name, revision="abc")


def test_a_hub_id_of_another_kind_is_refused_before_its_weights_are_fetched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(folder, monkeypatch)
    (folder / INDEX).write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ModelError, match="holds a StableDiffusionPipeline"):
        find_model("someone/tiny")
    assert hub.fetched == [{INDEX}]


def test_a_hub_that_does_not_answer_is_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(
        ModelError, match="'someone/tiny' could not be fetched.*: no route to host\n"
    ):
        find_model("someone/tiny")


def test_a_relative_path_is_relative_to_a_folder_and_reads_otherwise_from_another(
    folder: Path, tmp_path: Path
) -> None:
    model = find_model(f"./{folder.name}", folder=tmp_path)
    assert (model.path, model.name) == (folder, f"./{folder.name}")
    assert model.name_from(tmp_path) == f"./{folder.name}"
    assert model.name_from(tmp_path / "films") == f"../{folder.name}"
    assert model.name_from(tmp_path.parent) == f"./{tmp_path.name}/{folder.name}"
    assert find_model(str(folder), folder=Path("films")).name_from(tmp_path) == str(folder)


@pytest.mark.parametrize(
    "name", ["nonsense", "./someone/tiny", "a/b/c", "~nobody/x", "x" * 5000, "bad\0name"]
)
def test_a_name_that_means_nothing_is_a_model_error(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        find_model(name)


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.touch()
    assert "is a file, not a model folder" in complaint(file)


# ---------------------------------------------------------------- the fingerprint


def test_fingerprint_covers_no_name_and_no_place(pristine: Path, folder: Path) -> None:
    assert find_model(str(folder)).fingerprint == find_model(str(pristine)).fingerprint
    assert re.fullmatch("[0-9a-f]{64}", find_model(str(folder)).fingerprint)


def decisive_files(folder: Path) -> list[Path]:
    return [f for part in PARTS for f in (folder / part).iterdir()]


def test_fingerprint_covers_every_byte_of_every_weight_and_config(folder: Path) -> None:
    seen = {find_model(str(folder)).fingerprint}
    files = decisive_files(folder)
    assert {"dynamic", "mask", "vae", "text_encoder"} <= {
        f.parent.name for f in files if f.suffix == ".safetensors"
    }
    for file in files:
        whole = file.read_bytes()
        # A config must still be read, so a blank is added to it; in weights, the last bit flips.
        is_config = file.suffix == ".json"
        file.write_bytes(whole + b" " if is_config else whole[:-1] + bytes([whole[-1] ^ 1]))
        seen.add(find_model(str(folder)).fingerprint)
        file.write_bytes(whole)
    assert len(seen) == len(files) + 1


def test_fingerprint_covers_how_the_model_copies(folder: Path) -> None:
    before = find_model(str(folder)).fingerprint
    edit_json(
        folder / INDEX, lambda index: index["artv"].update(static_noise="input_minus_reference")
    )
    assert find_model(str(folder)).fingerprint != before


def test_fingerprint_leaves_out_what_each_frame_is_told_anyway(folder: Path) -> None:
    before = find_model(str(folder)).fingerprint
    edit_json(folder / INDEX, lambda index: index["artv"]["sampling"].update(steps=7))
    (folder / "README.md").write_text("A model")
    assert find_model(str(folder)).fingerprint == before


def test_a_variant_is_another_model_and_stands_beside_the_first(folder: Path) -> None:
    plain = find_model(str(folder), variant="fp16").fingerprint
    assert plain == find_model(str(folder)).fingerprint  # no part has this variant
    weights = folder / "dynamic" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, weights.with_suffix(".fp16.safetensors"))
    assert find_model(str(folder)).fingerprint == plain
    assert find_model(str(folder), variant="fp16").fingerprint != plain


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    assert f"{part}/{PARTS[part]} is missing" in complaint(folder)


@pytest.mark.parametrize("part", WEIGHTED_PARTS)
def test_a_part_with_a_pickle_alone_is_refused(folder: Path, part: str) -> None:
    [weights] = (folder / part).glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    assert f"{part}/ holds no safetensors weights" in complaint(folder)
    assert f"{weights.stem}.bin may be a pickle, which artv never opens" in advice(folder)


@pytest.mark.parametrize("ending", [".fp16.safetensors", ".fp16-00001-of-00001.safetensors"])
@pytest.mark.parametrize("part", WEIGHTED_PARTS)
def test_a_part_with_a_variant_alone_says_which(folder: Path, part: str, ending: str) -> None:
    [weights] = (folder / part).glob("*.safetensors")
    weights.rename(folder / part / f"{weights.stem}{ending}")
    (folder / part / "a.bin").touch()
    assert f"{part}/ holds no safetensors weights" in complaint(folder)
    told = f"There is {weights.stem}{ending}: say --variant fp16, or take that out of its name."
    assert advice(folder) == told
    assert find_model(str(folder), variant="fp16")


@pytest.mark.parametrize("part", WEIGHTED_PARTS)
def test_a_part_without_any_weights_is_to_be_fetched_again(folder: Path, part: str) -> None:
    [weights] = (folder / part).glob("*.safetensors")
    weights.unlink()
    assert advice(folder).startswith("Fetch it again")


def test_a_folder_without_an_index_says_so(tmp_path: Path) -> None:
    assert complaint(tmp_path).endswith("model_index.json is missing")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[1]", b"null"])
def test_a_broken_index_is_one_sentence(folder: Path, content: bytes) -> None:
    (folder / INDEX).write_bytes(content)
    assert INDEX in complaint(folder)


@pytest.mark.parametrize("part", ["dynamic", "vae"])
@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_broken_config_is_named(folder: Path, part: str, content: str) -> None:
    (folder / part / "config.json").write_text(content)
    message = complaint(folder)
    assert f"{part}/" in message or "autoencoder" in message


@pytest.mark.parametrize(
    ("name", "make"),
    [
        (INDEX, os.mkfifo),
        ("tokenizer/more.txt", os.mkfifo),
        ("tokenizer/more.txt", os.mkdir),
        ("mask/more.safetensors", os.mkfifo),
        ("mask/more.safetensors", os.mkdir),
        ("mask/more.safetensors", lambda path: os.symlink("/dev/zero", path)),
    ],
)
def test_what_is_no_file_is_named_and_never_read(
    folder: Path, no_waiting: None, name: str, make: Callable[[Path], None]
) -> None:
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    assert f"{folder / name} cannot be read" in complaint(folder)


def test_another_pipeline_is_named(folder: Path) -> None:
    (folder / INDEX).write_text('{"_class_name": "StableDiffusionPipeline"}')
    assert "holds a StableDiffusionPipeline, not an artv model" in complaint(folder)


def test_another_autoencoder_is_named(folder: Path) -> None:
    edit_json(folder / "vae" / "config.json", lambda vae: vae.update(_class_name="VQModel"))
    assert complaint(folder).endswith("the autoencoder is 'VQModel'")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"static_noise": "magic"}, "artv.static_noise"),
        ({"dtype": "int8"}, "artv.dtype"),
        ({"size": [128]}, "artv.size"),
        ({"size": [0, 128]}, "artv.size"),
        ({"colour": "red"}, "artv.colour"),
        ({"sampling": {"steps": 8}}, "artv.sampling"),
        ({"sampling": None}, "artv.sampling"),
        ({"key_frame": {"steps": 8}}, "artv.key_frame"),
    ],
)
def test_a_bad_artv_entry_is_named(folder: Path, change: dict[str, Any], where: str) -> None:
    edit_json(folder / INDEX, lambda index: index["artv"].update(change))
    assert where in complaint(folder)


UNGUIDED = {"text": 0, "reference": 0, "anchor": 0, "on": "dynamic"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 1001}, "steps"),
        ({"noise_level": 1000}, "noise_level"),
        ({"sampler": "ddim"}, "sampler"),
        ({"guidance": UNGUIDED | {"text": -1}}, "guidance.text"),
        ({"guidance": UNGUIDED | {"rescale": 2}}, "guidance.rescale"),
        ({"guidance": UNGUIDED | {"interval": [900, 200]}}, "guidance.interval"),
    ],
)
def test_defaults_that_no_user_could_ask_for_are_refused(
    folder: Path, change: dict[str, Any], where: str
) -> None:
    edit_json(folder / INDEX, lambda index: index["artv"]["sampling"].update(change))
    assert where in complaint(folder)


def test_models_written_before_guidance_was_moderated_are_read_with_nothing_moderated(
    folder: Path,
) -> None:
    def forget(index: dict[str, Any]) -> None:
        for name in ("rescale", "interval"):
            index["artv"]["sampling"]["guidance"].pop(name, None)

    edit_json(folder / INDEX, forget)
    guidance = find_model(str(folder)).preferences.sampling.guidance
    assert (guidance.rescale, guidance.interval) == (0.0, (0, 999))


def test_a_model_may_like_its_guidance_moderated(folder: Path) -> None:
    likes = {"rescale": 0.7, "interval": [200, 900]}
    edit_json(folder / INDEX, lambda index: index["artv"]["sampling"]["guidance"].update(likes))
    guidance = find_model(str(folder)).preferences.sampling.guidance
    assert (guidance.rescale, guidance.interval) == (0.7, (200, 900))


def test_key_frames_have_the_same_limits(folder: Path) -> None:
    def wants_no_steps(index: dict[str, Any]) -> None:
        index["artv"]["key_frame"] = {**index["artv"]["sampling"], "steps": 0}

    edit_json(folder / INDEX, wants_no_steps)
    assert "steps" in complaint(folder)


@pytest.mark.parametrize("entry", [None, [], "artv", 1])
def test_an_artv_entry_of_another_kind_is_refused(folder: Path, entry: object) -> None:
    edit_json(folder / INDEX, lambda index: index.update(artv=entry))
    assert "artv" in complaint(folder)


@pytest.mark.parametrize(
    "channels",
    [None, 7, "xy", [], ["x"], [None], {"a": 1}, [-4], [True], [4.0], [1 << 30], [1] * 100],
    ids=str,
)
def test_configs_that_do_not_say_their_channels_are_refused(folder: Path, channels: object) -> None:
    path = folder / "dynamic" / "config.json"
    edit_json(path, lambda config: config["unet_config"].update(block_out_channels=channels))
    assert "do not say their channels" in complaint(folder)


@pytest.mark.parametrize(
    "change",
    [{"block_out_channels": ["x"]}, *({"latent_channels": n} for n in (None, 0, 1e999, "4"))],
    ids=str,
)
def test_autoencoders_that_do_not_say_their_channels_are_refused(
    folder: Path, change: dict[str, Any]
) -> None:
    edit_json(folder / "vae" / "config.json", lambda config: config.update(change))
    assert "do not say their channels" in complaint(folder)


def test_looking_at_a_model_needs_no_torch(pristine: Path) -> None:
    program = (
        "import sys; from artv_cli.model.folder import find_model;"
        f"find_model({str(pristine)!r});"
        "sys.exit(', '.join({'torch', 'diffusers', 'transformers'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_an_embedded_model_without_its_weights_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EMBEDDED_MODELS, "storybook", tmp_path)
    with pytest.raises(ModelError, match="weights of the storybook model are not in this copy"):
        find_model("storybook")
