"""Will it fit: told from headers and configs, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import PREFERENCES, SIZE, tiny_folder, tiny_model
from tiny_base import tiny_base

from artv_cli import artv_engine, pipeline_engine
from artv_cli.artv_engine import load_engine
from artv_cli.errors import UsageError
from artv_cli.model import artv
from artv_cli.model.folder import ModelFolder, find_model
from artv_cli.model.memory import SPARE, Demand, PictureDemand, shortage
from artv_cli.model.text_to_image import TextToImageFolder, find_text_to_image


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return find_model(str(tiny_folder(tmp_path_factory.mktemp("model"))))


@pytest.fixture
def demand(model: ModelFolder) -> Demand:
    return Demand(model, SIZE, "float32")


def num_values(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_weights_are_counted_to_the_byte(demand: Demand) -> None:
    loaded = tiny_model()
    networks, vae, text = loaded.networks, loaded.vae, loaded.text
    assert demand.weights == 4 * num_values(networks, vae, text)
    assert replace(demand, dtype="bfloat16").weights == 2 * num_values(networks, vae, text)
    turns = replace(demand, offload="model")
    assert turns.weights == 4 * num_values(networks)  # the largest of those that take turns
    layers = replace(demand, offload="sequential")
    assert layers.weights == 4 * max(p.numel() for p in networks.parameters())


def test_larger_frames_ask_for_more(demand: Demand) -> None:
    small, large = demand.activations, replace(demand, size=(64, 64)).activations
    assert large == 4 * small > 0


def test_there_is_nothing_to_say_where_it_fits(demand: Demand) -> None:
    assert shortage(demand, "cuda", demand.total) is None


def test_it_is_certain_only_where_the_weights_alone_are_too_large(demand: Demand) -> None:
    for free, certain in ((demand.weights - 1, True), (demand.total - 1, False)):
        lack = shortage(demand, "cuda", free)
        assert lack is not None and lack.is_certain == certain
        assert "\n" not in lack.message and lack.remedy


@pytest.mark.parametrize(
    ("free", "remedy"),
    [
        ({"dtype": "bfloat16"}, "--dtype bfloat16 would fit"),
        ({"offload": "model"}, "--offload model would fit"),
        ({"offload": "model", "dtype": "bfloat16"}, "--dtype bfloat16 --offload model would fit"),
        ({"offload": "sequential", "dtype": "bfloat16"}, "--offload sequential would fit"),
    ],
)
def test_the_remedy_is_the_least_change_that_would_fit(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch, free: dict[str, Any], remedy: str
) -> None:
    """At full size, where each of them is another amount: bf16 halves, turns spare the encoder."""
    gigabytes = {
        "none": 6.0, "model": 4.0, "sequential": 0.5,
    }  # fmt: skip
    if free == {"offload": "model"}:
        gigabytes["model"] = 2.0

    def weights(demand: Demand) -> int:
        return int(gigabytes[demand.offload] * 1e9) // (1 + (demand.dtype == "bfloat16"))

    monkeypatch.setattr(Demand, "weights", property(weights))
    monkeypatch.setattr(Demand, "activations", property(lambda _: 10**9))
    asked = Demand(model, SIZE, "float32")
    lack = shortage(asked, "cuda", replace(asked, **free).total)
    assert lack is not None and remedy in lack.remedy


def test_no_remedy_on_a_cpu_is_to_offload(demand: Demand) -> None:
    halves = replace(demand, dtype="bfloat16", offload="model")
    for free in range(0, demand.total, demand.total // 8):
        lack = shortage(demand, "cpu", free)
        assert lack is not None and "--offload" not in lack.remedy
    lack = shortage(demand, "cuda", halves.total)
    assert lack is not None and "--offload" in lack.remedy


def test_where_nothing_helps_a_smaller_size_or_another_device_is_named(demand: Demand) -> None:
    lack = shortage(demand, "cuda", SPARE // 2)
    assert lack is not None and "--size" in lack.remedy and "--device" in lack.remedy


def test_full_size_frames_are_estimated_in_the_range_of_the_published_figures(
    model: ModelFolder,
) -> None:
    """Table 3: 16 frames at 768 x 768 took 2.92 GB more than at 320 x 320, so 0.18 GB each."""
    width = artv.SD21_UNET["block_out_channels"][0]
    large = replace(model, downsampling=8, unet_width=width, vae_width=128)
    full = Demand(large, (768, 768), "bfloat16")
    assert 0.5e9 < full.activations < 4e9
    assert replace(full, size=(320, 320)).activations < 0.5 * full.activations
    # Of the autoencoder no more than a tile is computed at once; just below 768 x 768, all is.
    tile = replace(full, size=(512, 512)).activations
    assert full.activations == tile < replace(full, size=(704, 768)).activations


# ---------------------------------------------------------------- before loading


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Stop where weights would be read, and note that it came to that."""
    reached: list[str] = []

    def load(*_: Any, **__: Any) -> Any:
        reached.append("loading")
        raise InterruptedError

    monkeypatch.setattr(artv_engine, "load_model", load)
    monkeypatch.setattr(artv_engine, "resolve_device", lambda name: name)
    yield reached


def test_a_card_that_cannot_hold_the_weights_is_refused_before_they_are_read(
    model: ModelFolder, unloaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artv_engine, "free_memory", lambda _: 1000)
    with pytest.raises(UsageError, match="needs about .* and cuda has 0.0 GB free") as caught:
        load_engine(model, device="cuda")
    assert caught.value.remedy and not unloaded


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_elsewhere_it_is_a_warning(
    model: ModelFolder, unloaded: list[str], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(artv_engine, "free_memory", lambda _: 1000)
    warned: list[str] = []
    with pytest.raises(InterruptedError):
        load_engine(model, device=device, warn=warned.append)
    [said] = warned
    assert "needs about" in said and unloaded


def test_activations_that_may_not_fit_are_a_warning_even_on_a_card(
    model: ModelFolder, unloaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need = Demand(model, SIZE, "float32")
    monkeypatch.setattr(artv_engine, "free_memory", lambda _: need.weights + 1)
    warned: list[str] = []
    with pytest.raises(InterruptedError):
        load_engine(model, device="cuda", warn=warned.append)
    assert len(warned) == 1 and unloaded


def test_free_memory_is_told_for_the_cpu_and_unknown_elsewhere() -> None:
    free = artv_engine.free_memory("cpu")
    assert free is not None and free > 0
    assert artv_engine.free_memory("xpu") is None


def test_the_default_model_fits(model: ModelFolder) -> None:
    warned: list[str] = []
    load_engine(model, device="cpu", warn=warned.append)
    assert not warned and model.preferences == PREFERENCES


# ---------------------------------------------------------------- pictures of key frames


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextToImageFolder, list[int]]:
    """A text-to-image model, and how many values its networks hold."""
    folder = tmp_path_factory.mktemp("painter")
    pipeline = tiny_base(folder)
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    return find_text_to_image(str(folder)), [num_values(network) for network in networks]


def test_a_text_to_image_models_weights_are_counted_to_the_byte(
    painted: tuple[TextToImageFolder, list[int]],
) -> None:
    folder, values = painted
    need = PictureDemand(folder, (64, 64), "float32")
    assert need.weights == 4 * sum(values)
    assert replace(need, dtype="float16").weights == 2 * sum(values)
    assert replace(need, offload="model").weights == 4 * max(values)
    assert 0 < replace(need, offload="sequential").weights < 4 * max(values)
    assert replace(need, size=(128, 128)).activations == 4 * need.activations > 0


def test_what_would_help_a_text_to_image_model_is_told_and_no_smaller_size(
    painted: tuple[TextToImageFolder, list[int]],
) -> None:
    need = PictureDemand(painted[0], (64, 64), "bfloat16")
    lack = shortage(need, "cuda", replace(need, offload="model").total)
    assert lack is not None and "64x64 pictures in bfloat16" in lack.message
    assert lack.remedy.startswith("--offload model would fit")
    lack = shortage(need, "cuda", SPARE // 2)
    assert lack is not None and "smaller --key-frame-model" in lack.remedy
    assert "--size" not in lack.remedy


@pytest.mark.parametrize(("device", "is_refused"), [("cuda", True), ("cpu", False)])
def test_a_text_to_image_model_that_does_not_fit_is_told_of_before_it_is_loaded(
    painted: tuple[TextToImageFolder, list[int]],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    is_refused: bool,
) -> None:
    def load(*_: Any) -> Any:
        raise InterruptedError

    monkeypatch.setattr(pipeline_engine, "_network", load)
    monkeypatch.setattr(pipeline_engine, "resolve_device", lambda name: name)
    monkeypatch.setattr(pipeline_engine, "free_memory", lambda _: 1000)
    warned: list[str] = []
    with pytest.raises(UsageError if is_refused else InterruptedError) as caught:
        pipeline_engine.load_pipeline(painted[0], device=device, size=(96, 64), warn=warned.append)
    said = [str(caught.value)] if is_refused else warned
    assert len(said) == 1 and "needs about 0.0 GB" not in said[0]
    assert f"needs about 0.3 GB for 128x64 pictures in float32, and {device} has 0.0 GB" in said[0]
