"""Loading and saving the parts of a model folder: safetensors only, no remote code, ever."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPTextModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import ModelError
from artv_cli.latents import Dtype
from artv_cli.model.artv import ArtV
from artv_cli.model.codec import Autoencoder, TextEncoder
from artv_cli.model.folder import PARTS, ModelFolder, Preferences
from artv_cli.model.growth import OUTGROWN, grown_from
from artv_cli.model.header import TensorInfo, read_header, require_floats
from artv_cli.model.repository import INDEX, first_line, is_modest, read_json, weight_files
from artv_cli.model.scheduler import load_schedule, paper_scheduler, prediction_of, scheduler_config
from artv_cli.model.unet import ConditionedUNet
from artv_cli.settings import StaticNoise

ORIGIN_KEYS = ("_name_or_path", "is_local", "local_files_only")
AUTOENCODERS = {kind.__name__: kind for kind in (AutoencoderKL, AutoencoderTiny)}


class Place(Protocol):
    """What parts are loaded from: a folder, and what its user calls it."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...


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

    Raises ModelError, naming the part, where weights are missing, truncated, of wrong shape or
    not finite, or where the parts do not fit together.
    """

    def load(part: str, kind: Any) -> Any:
        module = load_weights(folder, part, kind, getattr(torch, dtype), variant)
        return module.requires_grad_(False).eval().to(device)

    schedule = load_schedule(folder)
    predicts_velocity = prediction_of(scheduler_config(folder)) == "v_prediction"
    model = Model(
        ArtV(
            load("dynamic", ConditionedUNet),
            load("mask", ConditionedUNet),
            velocity=schedule if predicts_velocity else None,
        ),
        load("vae", AUTOENCODERS[folder.autoencoder]),
        TextEncoder(
            load_part(folder, "tokenizer", AutoTokenizer.from_pretrained, trust_remote_code=False),
            load("text_encoder", CLIPTextModel),
        ),
        schedule,
        folder.preferences.static_noise,
    )
    _require_fit(folder, model)
    return model


def save_model(
    path: Path, model: Model, preferences: Preferences, shard_bytes: int | None = None
) -> None:
    """Write a model folder in the diffusers manner, in the dtype that the parts have.

    `shard_bytes`: about how large a file of weights may be; by default as the libraries have it.
    """
    parts: dict[str, Any] = {
        "dynamic": model.networks.dynamic,
        "mask": model.networks.mask,
        "vae": model.vae,
        "text_encoder": model.text.model,
        "tokenizer": model.text.tokenizer,
        "scheduler": paper_scheduler(
            "v_prediction" if model.networks.velocity else "epsilon", *model.schedule.betas
        ),
    }
    kinds = {name: save_part(path, name, part, shard_bytes) for name, part in parts.items()}
    save_index(path, kinds, preferences)


def save_part(path: Path, name: str, part: Any, shard_bytes: int | None = None) -> list[str]:
    """Write one part into the model folder `path`; return library and class, as an index has them.

    Raises OSError where it cannot be written.
    """
    is_cut = shard_bytes is not None and isinstance(part, nn.Module)
    with silent_libraries(), system_errors():
        part.save_pretrained(path / name, **({"max_shard_size": shard_bytes} if is_cut else {}))
    _forget_origin(path / name / PARTS[name])
    kind = type(part)
    return [kind.__module__.split(".")[0], kind.__name__]


@contextmanager
def system_errors() -> Iterator[None]:
    """Raise what the system said, such as that the disk is full: safetensors hides it in words."""
    try:
        yield
    except SafetensorError as error:
        told = re.search(r"os error (\d+)", str(error))
        code = int(told.group(1)) if told else errno.EIO
        raise OSError(code, os.strerror(code)) from error


def save_index(path: Path, kinds: Mapping[str, list[str]], preferences: Preferences) -> None:
    """Write the index of a model folder, which makes it complete."""
    index = {"_class_name": "ArtV", **kinds, "artv": preferences.model_dump(mode="json")}
    (path / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _forget_origin(config: Path) -> None:
    """Take out where a part was read from: a model has one fingerprint, wherever it was made."""
    content = json.loads(config.read_bytes())
    kept = {key: value for key, value in content.items() if key not in ORIGIN_KEYS}
    config.write_text(json.dumps(kept, indent=2) + "\n")


def load_weights(
    folder: Place, part: str, kind: Any, dtype: torch.dtype, variant: str | None
) -> nn.Module:
    """Load a part of which every weight must be there, fit, be a float, and be finite.

    ModelError if not.
    """
    files = weight_files(folder.path, part, variant)
    tensors: dict[str, TensorInfo] = {}
    for file in files:
        tensors |= read_header(file, folder.name)
    require_floats(tensors, folder.name, part)
    config = read_json(folder.path / part / "config.json", folder.name)
    if not is_modest(config, sum(info.count for info in tensors.values())):
        raise bad_part(folder, part, OUTGROWN)
    with grown_from(tensors):
        module, found = load_part(
            folder,
            part,
            kind.from_pretrained,
            use_safetensors=True,
            variant=variant if any(f".{variant}" in file.name for file in files) else None,
            output_loading_info=True,
            # Left alone, transformers names such weights only in its log.
            **{"dtype": dtype, "ignore_mismatched_sizes": True}
            if issubclass(kind, PreTrainedModel)
            else {"torch_dtype": dtype},
        )
    # The libraries fill what is missing with random values and say so in their log at most.
    if absent := sorted(found["missing_keys"]):
        raise bad_part(folder, part, f"{absent[0]} is missing")
    if misfits := sorted(found["mismatched_keys"]):
        raise bad_part(folder, part, f"{misfits[0][0]} is of another shape than its config says")
    for name, weight in module.named_parameters():
        if not weight.isfinite().all():
            raise bad_part(folder, part, f"{name} holds infinities or NaN as {dtype}")
        # A mapped file's values lie where they lie in the file, and where they lie decides in
        # which order a kernel adds; in torch's own memory the same weights give the same bits.
        weight.data = weight.data.clone()
    return module


def load_part(folder: Place, part: str, load: Callable[..., Any], **options: Any) -> Any:
    """Return what `load` makes of a part's folder, silently; ModelError where it fails."""
    try:
        with silent_libraries():
            return load(folder.path / part, local_files_only=True, **options)
    except Exception as error:  # the libraries raise many kinds for a damaged part
        told = first_line(error).split(". ")[0].rstrip(". ")
        raise bad_part(folder, part, told) from error


def bad_part(folder: Place, part: str, problem: str) -> ModelError:
    """Return the error that says what is wrong with a part."""
    return ModelError(
        f"{folder.name}: {part}/ cannot be loaded: {problem}",
        f"Fetch the model again; it was read from {folder.path}.",
    )


def require_words(folder: Place, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raise ModelError for a word with a number that the text encoder's table does not reach."""
    last = max(tokenizer.get_vocab().values(), default=0)
    if last >= rows:
        raise bad_part(
            folder, "tokenizer", f"it numbers words up to {last}, the encoder to {rows - 1}"
        )


def _require_fit(folder: ModelFolder, model: Model) -> None:
    """Compare the words, channels and widths at which the parts meet."""
    require_words(folder, model.text.tokenizer, model.text.model.config.vocab_size)
    channels = model.vae.config.latent_channels
    meets = channels, model.text.model.config.hidden_size
    for part, unet, out in (
        ("dynamic", model.networks.dynamic.unet, channels),
        ("mask", model.networks.mask.unet, 1),
    ):
        config = unet.config
        if (config.in_channels, config.cross_attention_dim, config.out_channels) != (*meets, out):
            raise bad_part(
                folder,
                part,
                f"it maps {config.in_channels} to {config.out_channels} channels under a text"
                f" {config.cross_attention_dim} wide, which is not {channels} to {out} under"
                f" {meets[1]}",
            )


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Keep the libraries' bars and logs off the terminal: what goes wrong is raised."""
    logs = diffusers.utils.logging, transformers.utils.logging
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity(logging.CRITICAL)
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, (verbosity, had_bars) in zip(logs, before, strict=True):
            log.set_verbosity(verbosity)
            if had_bars:
                log.enable_progress_bar()
