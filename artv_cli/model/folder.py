"""A model on disk, as far as it can be known without loading it: no torch here.

A model is a folder in the diffusers manner::

    model_index.json    what the parts are, and how the model likes to be sampled
    dynamic/ mask/      the two networks: config.json and safetensors
    vae/                AutoencoderKL or AutoencoderTiny
    text_encoder/ tokenizer/
    scheduler/          the noise schedule: scheduler_config.json

`artv` in model_index.json holds what artv itself needs: `size` (width, height), `static_noise`,
`dtype`, `sampling` and `key_frame` (sampling as well, of frames drawn from words alone), the
defaults for whatever the user leaves unsaid.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from artv_cli.errors import ModelError
from artv_cli.latents import ITEM_SIZE, Dtype
from artv_cli.model.repository import (
    INDEX,
    Found,
    block_widths,
    digest,
    from_hub,
    local_folder,
    read_json,
    refuse_revision,
    require_weights,
)
from artv_cli.settings import Sampling, Settings, StaticNoise

EMBEDDED = Path(__file__).parent.parent / "storybook" / "weights"
EMBEDDED_MODELS = {"storybook": EMBEDDED}
PARTS = {
    "dynamic": "config.json",
    "mask": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
WEIGHTED_PARTS = ("dynamic", "mask", "vae", "text_encoder")
AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")


class Preferences(BaseModel):
    """The `artv` entry of a model's index; `key_frame` is for frames drawn from words alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    static_noise: StaticNoise = "exact"
    dtype: Dtype = "float32"
    sampling: Sampling
    key_frame: Sampling | None = None

    @property
    def key_sampling(self) -> Sampling:
        """How key frames are drawn: as all frames are, unless the model says otherwise."""
        return self.key_frame or self.sampling


@dataclass(frozen=True)
class ModelFolder(Found):
    """A complete model folder, and how it likes to be used.

    Width and height of a frame must be multiples of `size_multiple`. `unet_width` and `vae_width`
    are the channels at the first level of Φ_dynamic and of the autoencoder.
    """

    preferences: Preferences
    size_multiple: int
    autoencoder: str
    latent_channels: int
    downsampling: int
    unet_width: int
    vae_width: int

    @property
    def vae_fingerprint(self) -> str:
        """A digest of the autoencoder's files: latents of another one are of no use here."""
        return digest("artv-autoencoder-1", self.path, {"vae": True}, None)

    def latent_bytes(self, size: tuple[int, int], dtype: Dtype) -> int:
        """Return how many bytes one frame's latents take at a size (width, height)."""
        width, height = size
        values = self.latent_channels * (width // self.downsampling) * (height // self.downsampling)
        return values * ITEM_SIZE[dtype]


def find_model(
    name: str, revision: str | None = None, variant: str | None = None, folder: Path | None = None
) -> ModelFolder:
    """Return the model called `name`: an embedded one, a folder, or a hub id (`owner/name`).

    `revision` pins a hub commit; `variant` picks weight files such as `fp16`; a relative path is
    relative to `folder`, by default the current one. Raises ModelError if there is none, or if it
    is incomplete or of another kind, UsageError for the revision of one that is here.
    """
    if name in EMBEDDED_MODELS and name not in embedded_models():
        raise ModelError(
            f"the weights of the {name} model are not in this copy of artv",
            "Train them (the README says how), or name another model with --model.",
        )
    folder = folder or Path()
    here = EMBEDDED_MODELS.get(name) or local_folder(name, folder, _kinds())
    if here:
        refuse_revision(name, revision, "--revision, ARTV_REVISION, `revision`")
    path = here or from_hub(name, revision, variant)  # the index alone
    index = read_json(path / INDEX, name)
    if "artv" not in index:
        raise ModelError(
            f"{name}: {path} holds {_kind(index)}, not an artv model",
            f"An artv model has an `artv` entry in its {INDEX}; one that draws pictures from words"
            " may draw key frames, with --key-frame-model.",
        )
    path = here or from_hub(name, revision, variant, *PARTS)
    for part in PARTS:
        _require_part(path, part, name, variant)
    vae = read_json(path / "vae" / PARTS["vae"], name)
    if vae.get("_class_name") not in AUTOENCODERS:
        raise ModelError(
            f"{name}: the autoencoder is {vae.get('_class_name')!r}",
            f"artv reads {' or '.join(AUTOENCODERS)}.",
        )
    is_relative = not os.path.isabs(name) and path == folder / name
    return replace(_describe(name, path, index, vae, variant), is_relative=is_relative)


def embedded_models() -> list[str]:
    """Return the names of the models that ship inside the package."""
    return sorted(name for name, path in EMBEDDED_MODELS.items() if (path / INDEX).exists())


def _describe(
    name: str, path: Path, index: Mapping[str, Any], vae: Mapping[str, Any], variant: str | None
) -> ModelFolder:
    preferences = _preferences(index, path / INDEX, name)
    unet = read_json(path / "dynamic" / PARTS["dynamic"], name).get("unet_config")
    unet_widths = block_widths(unet) if isinstance(unet, dict) else None
    vae_widths, channels = block_widths(vae), vae.get("latent_channels", 4)
    if unet_widths is None or vae_widths is None or type(channels) is not int or channels < 1:
        raise ModelError(
            f"{name}: the configs of dynamic/ and vae/ in {path} do not say their channels",
            "Fetch the model again.",
        )
    downsampling = 2 ** (len(vae_widths) - 1)
    return ModelFolder(
        name=name,
        path=path,
        fingerprint=fingerprint(path, preferences, variant),
        preferences=preferences,
        size_multiple=downsampling * 2 ** (len(unet_widths) - 1),
        autoencoder=vae["_class_name"],
        latent_channels=channels,
        downsampling=downsampling,
        unet_width=unet_widths[0],
        vae_width=vae_widths[0],
    )


def _preferences(index: Mapping[str, Any], file: Path, name: str) -> Preferences:
    """Read the `artv` entry; its values must lie within what a user may ask for."""
    try:
        preferences = Preferences.model_validate(index["artv"])
        for sampling in (preferences.sampling, preferences.key_sampling):
            Settings.model_validate({"size": preferences.size, **asdict(sampling)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        raise ModelError(
            f"{name}: artv.{where} in {file}: {problem[:1].lower()}{problem[1:]}",
            "Repair the entry, or write the model anew.",
        ) from None
    return preferences


def fingerprint(path: Path, preferences: Preferences, variant: str | None) -> str:
    """Return the digest of all that decides what an artv model draws."""
    weighted = {part: part in WEIGHTED_PARTS for part in PARTS}
    return digest(f"artv-model-1 {preferences.static_noise}", path, weighted, variant)


def _require_part(path: Path, part: str, name: str, variant: str | None) -> None:
    folder = path / part
    if not (folder / PARTS[part]).is_file():
        raise ModelError(
            f"{name}: {part}/{PARTS[part]} is missing in {path}",
            f"A complete model has {', '.join(PARTS)}; write or fetch it again.",
        )
    if part in WEIGHTED_PARTS:
        require_weights(path, part, name, variant)


def _kinds() -> str:
    return f"an embedded model ({', '.join(embedded_models())}), a model folder"


def _kind(index: Mapping[str, Any]) -> str:
    return f"a {index['_class_name']}" if "_class_name" in index else "something else"
