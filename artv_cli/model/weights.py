"""Loading and saving the parts of a model folder: safetensors only, no remote code, ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler
from torch import nn
from transformers import AutoTokenizer, CLIPTextModel

from artv_cli.diffusion.denoiser import StaticNoise
from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import ModelError
from artv_cli.latents import Dtype
from artv_cli.model.artv import ArtV
from artv_cli.model.codec import Autoencoder, TextEncoder
from artv_cli.model.folder import INDEX, PARTS, ModelFolder, Preferences, read_json
from artv_cli.model.unet import ConditionedUNet

AUTOENCODERS = {kind.__name__: kind for kind in (AutoencoderKL, AutoencoderTiny)}


@dataclass(frozen=True)
class Model:
    """A loaded model: everything that a frame is made with."""

    networks: ArtV
    vae: Autoencoder
    text: TextEncoder
    schedule: Schedule
    static_noise: StaticNoise


def load_model(
    folder: ModelFolder,
    *,
    device: str = "cpu",
    dtype: Dtype = "float32",
    variant: str | None = None,
) -> Model:
    """Load every part of a model onto a device.

    Raises ModelError, naming the part, where weights are missing, truncated or of wrong shape.
    """
    options = {"torch_dtype": getattr(torch, dtype), "use_safetensors": True, "variant": variant}
    vae_class = AUTOENCODERS[folder.autoencoder]

    def load(part: str, load_part: Callable[..., Any], **kwargs: Any) -> Any:
        return _load_part(folder, part, load_part, kwargs)

    networks = ArtV(
        load("dynamic", ConditionedUNet.from_pretrained, **options),
        load("mask", ConditionedUNet.from_pretrained, **options),
    )
    vae = load("vae", vae_class.from_pretrained, **options)
    text_options = {"dtype": options["torch_dtype"], "use_safetensors": True, "variant": variant}
    text = TextEncoder(
        load("tokenizer", AutoTokenizer.from_pretrained, trust_remote_code=False),
        load("text_encoder", CLIPTextModel.from_pretrained, **text_options),
    )
    for module in (networks, vae, text):
        cast(nn.Module, module).requires_grad_(False).eval().to(device)
    return Model(
        networks,
        vae,
        text,
        load_schedule(folder),
        cast(StaticNoise, folder.preferences.static_noise),
    )


def load_schedule(folder: ModelFolder) -> Schedule:
    """Read the noise schedule of a model folder; only noise prediction is supported."""
    config = read_json(folder.path / "scheduler" / PARTS["scheduler"], folder.name)
    kind = config.get("beta_schedule"), config.get("prediction_type", "epsilon")
    if kind != ("scaled_linear", "epsilon"):
        raise ModelError(
            f"{folder.name}: the scheduler is {kind[0]} with {kind[1]} prediction",
            "artv samples scaled_linear schedules with epsilon prediction.",
        )
    return Schedule.scaled_linear(
        config["beta_start"], config["beta_end"], config["num_train_timesteps"]
    )


def save_model(path: Path, model: Model, preferences: Preferences) -> None:
    """Write a model folder in the diffusers manner, in the dtype that the parts have."""
    parts: dict[str, Any] = {
        "dynamic": model.networks.dynamic,
        "mask": model.networks.mask,
        "vae": model.vae,
        "text_encoder": model.text.model,
        "tokenizer": model.text.tokenizer,
        "scheduler": paper_scheduler(),
    }
    for name, part in parts.items():
        part.save_pretrained(path / name)
    kinds = {
        name: [type(part).__module__.split(".")[0], type(part).__name__]
        for name, part in parts.items()
    }
    index = {"_class_name": "ArtV", **kinds, "artv": preferences.model_dump(mode="json")}
    (path / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def paper_scheduler() -> DDIMScheduler:
    """The paper's schedule (PAPER §6) as diffusers writes it down."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.0120,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
    )


def _load_part(
    folder: ModelFolder, part: str, load: Callable[..., Any], options: dict[str, Any]
) -> Any:
    try:
        return load(folder.path / part, local_files_only=True, **options)
    except Exception as error:  # the libraries raise many kinds for a damaged part
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{folder.name}: {part}/ cannot be loaded: {first_line}",
            f"Fetch the model again; it was read from {folder.path}.",
        ) from error
