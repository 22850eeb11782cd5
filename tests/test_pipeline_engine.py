"""The engine of pictures: diffusers' own pipeline, tiny, in the real command."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import tiny_folder
from tiny_base import SIDE, tiny_base, tiny_sdxl
from typer.testing import CliRunner

from artv_cli import artv_engine, pipeline_engine
from artv_cli.cache.entry import Entry, entry_at
from artv_cli.cli import app
from artv_cli.engine import PictureRequest
from artv_cli.errors import ModelError, RenderError
from artv_cli.images import fitted
from artv_cli.keys import frame_seed
from artv_cli.latents import NO_LATENTS, Pixels
from artv_cli.model.folder import find_model
from artv_cli.model.repository import INDEX
from artv_cli.model.text_to_image import find_text_to_image
from artv_cli.pipeline_engine import PipelineEngine, load_pipeline

STORY = """\
seed: 7
model: ./tiny
size: [64, 64]
key_frame: {model: ./painter, steps: 2, guidance: 2.5}
segments:
  - {prompt: a cat walks, frames: 2}
  - {prompt: the rocket flies, frames: 1, start: cut}
"""
FRAMES = 3  # of STORY


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model for films, `tiny`, and one for pictures, `painter`."""
    folder = tmp_path_factory.mktemp("models")
    tiny_folder(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(models: Path) -> Any:
    """The pipeline in `painter`, as it was before it was written."""
    return tiny_base(models / "painter")


@pytest.fixture
def home(models: Path, pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models and the story, to work in."""
    for name in ("tiny", "painter"):
        (tmp_path / name).symlink_to(models / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "story.yaml").write_text(STORY)
    return tmp_path


def artv(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--quiet"])


def story(*arguments: str) -> Any:
    result = artv("story", "story.yaml", "--device", "cpu", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def entries() -> dict[str, Entry]:
    return {path.stem: entry_at(path) for path in Path(".artv/frames").rglob("*.artv")}


def keys() -> list[str]:
    (file,) = Path(".artv/stories").glob("*.json")
    return [frame["key"] for frame in json.loads(file.read_text())["frames"]]


def drawn_by_diffusers(pipeline: Any, prompt: str, seed: int, **asked: Any) -> Pixels:
    """Return what diffusers itself draws with a generator of that seed."""
    generator = torch.Generator().manual_seed(seed)
    return np.asarray(pipeline(prompt, generator=generator, **asked).images[0])


# ---------------------------------------------------------------- the pictures


def test_a_story_begins_with_the_pipelines_own_pictures(home: Path, pipeline: Any) -> None:
    """They are kept as they are; what is shown is what the film's autoencoder makes of them."""
    first = story()
    require_pictures_of(pipeline)
    assert (first["rendered"], first["reused"]) == (FRAMES, 0)
    again = story()
    assert (again["rendered"], again["frame_digests"]) == (0, first["frame_digests"])


def require_pictures_of(pipeline: Any) -> None:
    """Compare what `story` has kept with what diffusers draws and the film's model encodes."""
    kept, engine = entries(), artv_engine.load_engine(find_model("./tiny"), device="cpu")
    for index, prompt in ((0, "a cat walks"), (2, "the rocket flies")):
        frame = kept[keys()[index]]
        (key,) = frame.parents
        asked = {"num_inference_steps": 2, "guidance_scale": 2.5}
        picture = drawn_by_diffusers(pipeline, prompt, frame_seed(7, 0), **asked)
        assert picture.shape == (SIDE, SIDE, 3) and picture.std() > 1
        assert np.array_equal(kept[key].pixels(), picture)
        assert kept[key].latents == NO_LATENTS
        assert frame.latents == engine.encode(picture)
        assert np.array_equal(frame.pixels(), engine.decode(frame.latents))


# Of the scheduler that SDXL is published with, under the numpy at hand.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_sdxl_draws_key_frames_with_both_of_its_text_encoders(home: Path) -> None:
    """The paper's: its layout and its variant's file names, as they were published."""
    pipeline = tiny_sdxl(home / "sdxl", variant="fp16")
    text = STORY.replace("model: ./painter", "model: ./sdxl, variant: fp16")
    (home / "story.yaml").write_text(text)
    first = story()
    require_pictures_of(pipeline)
    networks = set(find_text_to_image("./sdxl", variant="fp16").networks)
    assert networks == {"unet", "vae", "text_encoder", "text_encoder_2"}
    with torch.no_grad():
        for weight in pipeline.text_encoder_2.parameters():
            weight.mul_(1.5)
    pipeline.save_pretrained(home / "sdxl", variant="fp16")
    other = story()
    assert (other["rendered"], other["reused"]) == (FRAMES, 0)
    assert other["frame_digests"][0] != first["frame_digests"][0]


def test_the_model_of_the_pictures_is_gone_before_the_films_model_comes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    alive: list[weakref.ref[Any]] = []
    load_pictures, load_film = pipeline_engine.load_pipeline, artv_engine.load_engine

    def watched(*model: Any, **how: Any) -> Any:
        order.append("pictures")
        engine = load_pictures(*model, **how)
        alive.extend(weakref.ref(module) for module in engine._pipeline.components.values()
                     if isinstance(module, torch.nn.Module))  # fmt: skip
        return engine

    def film(*model: Any, **how: Any) -> Any:
        order.append("film")
        assert len(alive) == 3 and all(module() is None for module in alive)
        return load_film(*model, **how)

    monkeypatch.setattr(pipeline_engine, "load_pipeline", watched)
    monkeypatch.setattr(artv_engine, "load_engine", film)
    story()
    assert order == ["pictures", "film"]


def test_a_picture_does_not_hang_on_those_drawn_before_it(home: Path) -> None:
    """So a render that was killed between two pictures goes on to the same bits."""
    whole = story()
    picture = next(iter(entries()[keys()[2]].parents))
    for key in (picture, *keys()):
        (Path(".artv/frames") / key[:2] / f"{key}.artv").unlink()
    assert story()["frame_digests"] == whole["frame_digests"]


def test_a_small_film_gets_a_picture_of_the_size_that_the_model_draws(
    models: Path, pipeline: Any
) -> None:
    folder = find_text_to_image(str(models / "painter"))
    assert folder.drawn_size((32, 16)) == (64, 64)
    request = PictureRequest(
        model=folder.fingerprint,
        prompt="a cat",
        seed=3,
        size=(32, 16),
        drawn_size=(64, 64),
        dtype="float32",
        steps=1,
    )
    engine = load_pipeline(folder, device="cpu")
    picture = drawn_by_diffusers(pipeline, "a cat", 3, num_inference_steps=1)
    assert np.array_equal(engine.picture(request), fitted(Image.fromarray(picture), (32, 16)))
    assert engine.fingerprint == folder.fingerprint
    engine.close()


class Drawn:
    """A pipeline's output that is no picture."""

    def __init__(self, value: float, unfit: bool) -> None:
        self.images = np.full((1, 8, 8, 3), value, np.float32)
        self.nsfw_content_detected = [unfit]


@pytest.mark.parametrize(
    ("value", "unfit", "told"), [(np.nan, False, "no numbers"), (0.0, True, "unfit to be seen")]
)
def test_what_is_no_picture_is_not_kept(value: float, unfit: bool, told: str) -> None:
    engine = PipelineEngine(lambda **asked: Drawn(value, unfit), "f")
    with pytest.raises(RenderError, match=told):
        engine.picture(PictureRequest("f", "a cat", 0, (8, 8), (8, 8), "float32"))


# ---------------------------------------------------------------- what cannot be used


def _other_pipeline(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | {"_class_name": "AudioLDM2Pipeline"}))


def _other_class(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | {"unet": ["diffusers", "NoSuchNetwork"]}))


def _without_a_weight(folder: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    save_file(dict(list(load_file(weights).items())[1:]), weights)


def _quantised(folder: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    loaded = load_file(weights)
    key = max(loaded)
    save_file({**loaded, key: loaded[key].to(torch.int8)}, weights)


def _pickled(folder: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _code(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / "unet/mine.py").write_text("raise SystemExit('remote code ran')\n")
    (folder / INDEX).write_text(json.dumps(index | {"unet": ["mine", "Mine"]}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_other_pipeline, "does not draw pictures from words"),
        (_other_class, "knows no network NoSuchNetwork"),
        (_without_a_weight, "is missing"),
        (_quantised, "is I8, and weights are"),
        (_pickled, "holds no safetensors weights"),
        (_code, "code of its own"),
        (shutil.rmtree, "there is no model"),
    ],
)
def test_a_model_that_cannot_be_used_ends_with_one_sentence_and_code_3(
    home: Path, damage: Callable[[Path], object], told: str
) -> None:
    shutil.copytree(home / "painter", home / "bad")
    damage(home / "bad")
    result = CliRunner().invoke(
        app, ["story", "story.yaml", "--key-frame-model", "./bad", "--device", "cpu"]
    )
    assert result.exit_code == 3
    error = result.stderr[result.stderr.index("error: ") :]
    assert told in error.splitlines()[0] and "Traceback" not in error
    assert not Path("story.mp4").exists() and not entries()


def test_weights_that_changed_since_the_plan_draw_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = pipeline_engine.load_pipeline

    def tampered(*model: Any, **how: Any) -> Any:
        engine = load(*model, **how)
        engine.fingerprint = "0" * 64
        return engine

    monkeypatch.setattr(pipeline_engine, "load_pipeline", tampered)
    result = artv("story", "story.yaml", "--device", "cpu")
    assert result.exit_code == 3 and "not those that the plan was made for" in result.stderr


def test_a_part_that_is_no_network_is_refused(models: Path, pipeline: Any) -> None:
    folder = find_text_to_image(str(models / "painter"))
    networks = {**folder.networks, "unet": ("diffusers", "DDIMScheduler")}
    odd = type(folder)(folder.name, folder.path, folder.fingerprint, networks=networks, side=64)
    with pytest.raises(ModelError, match="knows no network DDIMScheduler"):
        load_pipeline(odd, device="cpu")
