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

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from artv_cli.errors import ModelError
from artv_cli.latents import ITEM_SIZE, Dtype
from artv_cli.settings import Sampling, Settings, StaticNoise

EMBEDDED = Path(__file__).parent.parent / "storybook" / "weights"
EMBEDDED_MODELS = {"storybook": EMBEDDED}
INDEX = "model_index.json"
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
PICKLES = (".bin", ".ckpt", ".pt", ".pth")


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
class ModelFolder:
    """A complete model folder: where it is, what its bits are, how it likes to be used.

    `fingerprint` covers every weight and config that decides a frame's bits, and no name; width
    and height of a frame must be multiples of `size_multiple`; `is_relative` says that `name` is a
    path relative to some folder.
    """

    name: str
    path: Path
    fingerprint: str
    preferences: Preferences
    size_multiple: int
    autoencoder: str
    latent_channels: int
    downsampling: int
    is_relative: bool = False

    def name_from(self, folder: Path) -> str:
        """Return the name by which the model is found from `folder`."""
        if not self.is_relative:
            return self.name
        there = Path(os.path.relpath(self.path.resolve(), folder.resolve())).as_posix()
        return there if there.startswith("../") else f"./{there}"

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
    is incomplete or of another kind.
    """
    if name in EMBEDDED_MODELS and name not in embedded_models():
        raise ModelError(
            f"the weights of the {name} model are not in this copy of artv",
            "Train them (the README says how), or name another model with --model.",
        )
    folder = folder or Path()
    here = EMBEDDED_MODELS.get(name) or _local_folder(name, folder)
    path = here or _from_hub(name, revision, variant)  # the index alone
    index = read_json(path / INDEX, name)
    if "artv" not in index:
        raise ModelError(
            f"{name}: {path} holds {_kind(index)}, not an artv model",
            "An artv model has an `artv` entry in its model_index.json.",
        )
    path = here or _from_hub(name, revision, variant, *PARTS)
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


def weight_files(path: Path, part: str, variant: str | None) -> list[Path]:
    """Return the safetensors files of one part: those of the variant where there are any."""
    files = sorted((path / part).glob("*.safetensors"))
    of_variant = [f for f in files if variant and f".{variant}" in f.name]
    return of_variant or [f for f in files if f.name.count(".") == 1]


def _describe(
    name: str, path: Path, index: Mapping[str, Any], vae: Mapping[str, Any], variant: str | None
) -> ModelFolder:
    preferences = _preferences(index, path / INDEX, name)
    unet: Any = read_json(path / "dynamic" / PARTS["dynamic"], name).get("unet_config")
    try:
        channels = int(vae.get("latent_channels", 4))
        blocks = vae.get("block_out_channels") or vae["decoder_block_out_channels"]
        downsampling = 2 ** (len(blocks) - 1)
        size_multiple = downsampling * 2 ** (len(unet["block_out_channels"]) - 1)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name}: the configs of dynamic/ and vae/ in {path} do not say their channels"
            f" ({_first_line(error)})",
            "Fetch the model again.",
        ) from None
    return ModelFolder(
        name=name,
        path=path,
        fingerprint=fingerprint(path, preferences, variant),
        preferences=preferences,
        size_multiple=size_multiple,
        autoencoder=vae["_class_name"],
        latent_channels=channels,
        downsampling=downsampling,
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
    """Return a digest of digests: names within the folder count, the folder's own does not."""
    total = hashlib.sha256(f"artv-model-1 {preferences.static_noise}\n".encode())
    for part in PARTS:
        configs = sorted(f for f in (path / part).iterdir() if f.suffix in (".json", ".txt"))
        weights = weight_files(path, part, variant) if part in WEIGHTED_PARTS else []
        for file in [*configs, *weights]:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            total.update(f"{part}/{file.name} {digest}\n".encode())
    return total.hexdigest()


def _local_folder(name: str, folder: Path) -> Path | None:
    # Unlike Path's own methods, these take any text for a name.
    path = os.path.join(folder, os.path.expanduser(name))
    if os.path.isdir(path):
        return Path(path)
    if os.path.isfile(path):
        raise ModelError(
            f"{name} is a file, not a model folder", f"Name the folder that holds {INDEX}."
        )
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        known = ", ".join(embedded_models())
        raise ModelError(
            f"there is no model {name!r}",
            f"Name an embedded model ({known}), a model folder, or a hub id such as owner/name.",
        )
    return None


def download(name: str, revision: str | None, variant: str | None, *parts: str) -> Path:
    """Fetch the index and some parts of a hub model: configs, vocabularies, safetensors.

    Variants of the weights are left out where none is wanted. Raises whatever the hub's client
    does.
    """
    from huggingface_hub import snapshot_download

    endings = ("json", "txt", "safetensors")
    wanted = [INDEX, *(f"{part}/*.{ending}" for part in parts for ending in endings)]
    others = [] if variant else ["*.*.safetensors"]
    return Path(
        snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=others)
    )


def _from_hub(name: str, revision: str | None, variant: str | None, *parts: str) -> Path:
    try:
        return download(name, revision, variant, *parts)
    except Exception as error:  # the hub's client raises many kinds, none of them ours
        raise ModelError(
            f"the model {name!r} could not be fetched from the hub: {_first_line(error)}",
            "Check the id and the connection; HF_TOKEN gives access to private models, "
            "HF_HUB_OFFLINE=1 uses what is already on this machine.",
        ) from error


def _require_part(path: Path, part: str, name: str, variant: str | None) -> None:
    folder = path / part
    if not (folder / PARTS[part]).is_file():
        raise ModelError(
            f"{name}: {part}/{PARTS[part]} is missing in {path}",
            f"A complete model has {', '.join(PARTS)}; write or fetch it again.",
        )
    if part in WEIGHTED_PARTS:
        require_weights(path, part, name, variant)


def require_weights(path: Path, part: str, name: str, variant: str | None) -> list[Path]:
    """Return `weight_files`; ModelError if there are none, saying what stands there instead."""
    if files := weight_files(path, part, variant):
        return files
    others = sorted(f.name for f in (path / part).iterdir())
    variants = [other for other in others if other.endswith(".safetensors")]
    pickles = [other for other in others if other.endswith(PICKLES)]
    if variants:
        of_which = variants[0].split(".")[1].partition("-")[0]  # a shard: fp16-00001-of-00002
        hint = f"There is {variants[0]}: say --variant {of_which}."
    elif pickles:
        hint = f"{pickles[0]} may be a pickle, which artv never opens: convert it to safetensors."
    else:
        hint = "Fetch it again; if it comes in variants alone, such as fp16, say --variant."
    raise ModelError(f"{name}: {part}/ holds no safetensors weights", hint)


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read one JSON object of the model called `name`; ModelError if that cannot be done."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(
            f"{name}: {path} is missing", "A model folder starts with model_index.json."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{name}: {path} cannot be read: {_first_line(error)}", "Fetch the model again."
        ) from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path} is not a JSON object", "Fetch the model again.")
    return content


def _kind(index: Mapping[str, Any]) -> str:
    return f"a {index['_class_name']}" if "_class_name" in index else "something else"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
