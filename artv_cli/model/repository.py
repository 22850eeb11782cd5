"""A folder of networks in the diffusers manner, here or on the hub: its files, and no torch.

``model_index.json`` names the parts; each has a folder with its config, and, if it is a network,
weights in safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artv_cli.errors import ModelError, UsageError
from artv_cli.files.input_file import open_file

INDEX = "model_index.json"
HERE = "."  # the one part of a model that has no folders of parts
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_MOST_LEVELS, _WIDEST = 16, 1 << 20  # far beyond any network's levels and channels
_MOST = 1 << 20  # and beyond its layers, tokens and timesteps
CONFIGS = (".json", ".txt", ".model")  # the last are vocabularies of SentencePiece


@dataclass(frozen=True)
class Found:
    """A folder of networks: where it is, what its bits are, what it was called.

    `fingerprint` covers every weight and config that decides a frame's bits, and no name;
    `is_relative` says that `name` is a path relative to some folder.
    """

    name: str
    path: Path
    fingerprint: str
    is_relative: bool = field(default=False, kw_only=True)

    def name_from(self, folder: Path) -> str:
        """Return the name by which the model is found from `folder`."""
        if not self.is_relative:
            return self.name
        there = Path(os.path.relpath(self.path.resolve(), folder.resolve())).as_posix()
        return there if there.startswith("../") else f"./{there}"


def local_folder(name: str, folder: Path, kinds: str) -> Path | None:
    """Return the folder called `name`, None for a hub id.

    ModelError for what can be neither; `kinds` says what may be named besides.
    """
    # Unlike Path's own methods, these take any text for a name.
    path = os.path.join(folder, os.path.expanduser(name))
    if os.path.isdir(path):
        return Path(path)
    if os.path.isfile(path):
        raise ModelError(
            f"{name} is a file, not a model folder", "Name the folder that all its files are in."
        )
    if not is_hub_id(name):
        raise ModelError(
            f"there is no model {name!r}", f"Name {kinds}, or a hub id such as owner/name."
        )
    return None


def is_hub_id(name: str) -> bool:
    """Tell whether a name can be a hub id: `owner/name`."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def refuse_revision(name: str, revision: str | None, said_by: str) -> None:
    """Raise UsageError where a revision is said of a model that is on this machine as it is."""
    if revision is not None:
        raise UsageError(
            f"revision {revision} is for a hub id, and {name} is none.",
            f"Leave it out ({said_by}), or name a hub model.",
        )


def download(name: str, revision: str | None, variant: str | None, *parts: str) -> Path:
    """Fetch the index and some parts of a hub model: configs, vocabularies, safetensors.

    Variants of the weights are left out where none is wanted. Raises whatever the hub's client
    does.
    """
    from huggingface_hub import snapshot_download

    endings = (*CONFIGS, ".safetensors")
    places = ("" if part == HERE else f"{part}/" for part in parts)
    wanted = [INDEX, *(f"{place}*{ending}" for place in places for ending in endings)]
    others = [] if variant else ["*.*.safetensors"]
    return Path(
        snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=others)
    )


def from_hub(name: str, revision: str | None, variant: str | None, *parts: str) -> Path:
    """Return what `download` does; ModelError where it fails."""
    try:
        return download(name, revision, variant, *parts)
    except Exception as error:  # the hub's client raises many kinds, none of them ours
        raise ModelError(
            f"the model {name!r} could not be fetched from the hub: {first_line(error)}",
            "Check the id and the connection; HF_TOKEN gives access to private models, "
            "HF_HUB_OFFLINE=1 uses what is already on this machine.",
        ) from error


def weight_files(path: Path, part: str, variant: str | None) -> list[Path]:
    """Return the safetensors files of one part: those of the variant where there are any."""
    files = sorted((path / part).glob("*.safetensors"))
    of_variant = [f for f in files if variant and f".{variant}" in f.name]
    return of_variant or [f for f in files if f.name.count(".") == 1]


def require_weights(
    path: Path, part: str, name: str, variant: str | None, setting: str = "--variant"
) -> list[Path]:
    """Return `weight_files`; ModelError if there are none, saying what stands there instead.

    `setting` is what chooses a variant.
    """
    if files := weight_files(path, part, variant):
        return files
    others = sorted(f.name for f in (path / part).iterdir())
    variants = [other for other in others if other.endswith(".safetensors")]
    pickles = [other for other in others if other.endswith(PICKLES)]
    if variants:
        of_which = variants[0].split(".")[1].partition("-")[0]  # a shard: fp16-00001-of-00002
        hint = f"There is {variants[0]}: say {setting} {of_which}, or take that out of its name."
    elif pickles:
        hint = f"{pickles[0]} may be a pickle, which artv never opens: convert it to safetensors."
    else:
        hint = f"Fetch it again; if it comes in variants alone, such as fp16, say {setting}."
    raise ModelError(f"{name}: {part}/ holds no safetensors weights", hint)


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read one JSON object of the model called `name`; ModelError if that cannot be done."""
    try:
        with open_file(path) as file:
            content = json.loads(file.read())
    except FileNotFoundError:
        raise ModelError(
            f"{name}: {path} is missing", "A model folder starts with model_index.json."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{name}: {path} cannot be read: {first_line(error)}", "Fetch the model again."
        ) from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path} is not a JSON object", "Fetch the model again.")
    return content


def block_widths(config: Mapping[str, Any]) -> list[int] | None:
    """Return the channels of each level of a UNet or an autoencoder, None where none are told."""
    kinds = "", "decoder_", "encoder_"
    widths = next(filter(None, (config.get(f"{kind}block_out_channels") for kind in kinds)), None)
    if not isinstance(widths, list) or not 0 < len(widths) <= _MOST_LEVELS:
        return None
    return widths if all(type(width) is int and 0 < width <= _WIDEST for width in widths) else None


def walked(config: object) -> Iterator[Any]:
    """Yield a JSON value and every value inside it, however deep."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def is_modest(config: object, values: int = 0) -> bool:
    """Tell whether no whole number in a config is beyond a million, nor how many `values` it is of.

    The libraries make lists of so many layers, or timesteps, before they make the first one.
    """
    most = max(_MOST, values)
    return all(value <= most for value in walked(config) if isinstance(value, int))


def digest(head: str, path: Path, parts: Mapping[str, bool], variant: str | None) -> str:
    """Return a digest of digests: names within the folder count, the folder's own does not.

    `parts` says whether a part has weights besides its configs and vocabulary. ModelError for a
    file that cannot be read.
    """
    total = hashlib.sha256(f"{head}\n".encode())
    for part, has_weights in parts.items():
        configs = sorted(f for f in (path / part).iterdir() if f.suffix in CONFIGS)
        for file in [*configs, *(weight_files(path, part, variant) if has_weights else ())]:
            total.update(f"{part}/{file.name} {file_digest(file)}\n".encode())
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; ModelError for what cannot be read."""
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {first_line(error)}", "Fetch the model again."
        ) from None


def first_line(error: BaseException) -> str:
    """Return what an exception says in one line."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
