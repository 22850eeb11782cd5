"""A text-to-image model on disk, as far as it can be known without loading it: no torch here.

It is a pipeline in the diffusers manner, of any kind that diffusers draws pictures from words
with: Stable Diffusion, SDXL and later ones. What would bring code of its own is refused.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artv_cli.errors import ModelError
from artv_cli.model.header import read_header, require_floats
from artv_cli.model.repository import (
    INDEX,
    Found,
    block_widths,
    digest,
    from_hub,
    is_modest,
    local_folder,
    read_json,
    refuse_revision,
    require_weights,
    walked,
)

LIBRARIES = ("diffusers", "transformers", "stable_diffusion")  # the last has the safety checker
CONFIG = "config.json"  # networks have one; tokenizers, schedulers and the like call it otherwise
_CONFIGS = f"*{CONFIG}"
_SCHEDULER = "scheduler_config.json"
_CODE = "auto_map"  # the key under which a config names modules that lie beside it
_ORIGIN = ("_name_or_path", "_diffusers_version", "_ignore_files")
_KINDS = "a folder that holds a text-to-image pipeline of diffusers"
_STEP = 64  # pixels: what the sides of these models' pictures are multiples of
_SIDE = 1024  # pixels: what models that do not say it are trained at
_LARGEST_SAMPLE = 4096  # latent values: more than any model draws


@dataclass(frozen=True)
class TextToImageFolder(Found):
    """A complete text-to-image model.

    `networks` are the library and the class of each part that has weights; `side` is that of the
    square pictures it was trained at, in pixels; `variant` says which weight files are meant.
    """

    networks: Mapping[str, tuple[str, str]]
    side: int
    variant: str | None = None

    def drawn_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) at which to draw for a film of `size`.

        As large as what the model was trained at, since smaller pictures fall apart; near the
        film's shape, which is cut from it.
        """
        width, height = size
        growth = max(1.0, self.side / math.sqrt(width * height))
        across, down = (max(1, round(v * growth / _STEP)) * _STEP for v in (width, height))
        return across, down


def find_text_to_image(
    name: str, revision: str | None = None, variant: str | None = None, folder: Path | None = None
) -> TextToImageFolder:
    """Return the text-to-image model called `name`: a folder or a hub id (`owner/name`).

    `revision`, `variant` and `folder` as for `model.folder.find_model`. Raises ModelError if there
    is none, if it is incomplete or of another kind, or if it needs code of its own; UsageError for
    the revision of one that is here.
    """
    folder = folder or Path()
    here = local_folder(name, folder, _KINDS)
    if here:
        refuse_revision(name, revision, "`revision` in `key_frame`, ARTV_KEY_FRAME_REVISION")
    path = here or from_hub(name, revision, variant)  # the index alone
    index = read_json(path / INDEX, name)
    parts = dict(_parts(index, name))
    path = here or from_hub(name, revision, variant, *parts)
    for part in parts:
        if not (path / part).is_dir():
            raise ModelError(f"{name}: {part}/ is missing in {path}", "Fetch the model again.")
        for file in sorted((path / part).glob(_CONFIGS)):
            _require_harmless(file, part, name)
    networks = {part: kind for part, kind in parts.items() if (path / part / CONFIG).is_file()}
    for part in networks:
        setting = "`variant:` in `key_frame:`, as in"
        for file in require_weights(path, part, name, variant, setting):
            require_floats(read_header(file, name), name, part)
    kept = {key: value for key, value in index.items() if key not in _ORIGIN}
    head = f"artv-text-to-image-1 {json.dumps(kept, sort_keys=True)}"
    return TextToImageFolder(
        name=name,
        path=path,
        fingerprint=digest(head, path, {part: part in networks for part in parts}, variant),
        is_relative=not os.path.isabs(name) and path == folder / name,
        networks=networks,
        side=_side(path, networks, name),
        variant=variant,
    )


def _parts(index: Mapping[str, Any], name: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield library and class of each part that the index names; ModelError for foreign ones."""
    kind = index.get("_class_name")
    if "artv" in index:
        raise ModelError(
            f"{name} holds an artv model, which draws key frames only for itself",
            "Leave `key_frame` out to have it do so, or name a text-to-image model.",
        )
    if isinstance(kind, list):
        raise _foreign(name, "its pipeline")
    if not isinstance(kind, str) or not kind.endswith("Pipeline"):
        raise ModelError(f"{name} holds no pipeline that draws pictures", f"Name {_KINDS}.")
    for part, value in index.items():
        match value:
            case [None, None]:
                continue
            case [str(library), str(kind)] if library in LIBRARIES and part.isidentifier():
                yield part, (library, kind)
            case [*_]:
                raise _foreign(name, f"its part {part!s:.40}")


def _require_harmless(config: Path, part: str, name: str) -> None:
    """Raise ModelError for a config that names code, or timesteps beyond all measure.

    A processor's code would be offered to be run; a scheduler makes a list of its timesteps.
    """
    said = read_json(config, name)
    if any(isinstance(value, dict) and _CODE in value for value in walked(said)):
        raise _foreign(name, f"its part {part}")
    if config.name == _SCHEDULER and not is_modest(said):
        raise ModelError(
            f"{name}: {config} holds a larger number than any scheduler has",
            "Fetch the model again.",
        )


def _foreign(name: str, what: str) -> ModelError:
    return ModelError(
        f"{name}: {what} is of neither diffusers nor transformers: it would bring code of its own,"
        " which artv never runs",
        f"Name {_KINDS}.",
    )


def _side(path: Path, networks: Mapping[str, Any], name: str) -> int:
    """Return the side of the pictures that a model was trained at, by its configs."""
    drawing: dict[str, Any] = {}
    for part in ("unet", "transformer"):
        if part in networks:
            drawing |= read_json(path / part / CONFIG, name)
    side = drawing.get("sample_size")
    widths = block_widths(read_json(path / "vae" / CONFIG, name)) if "vae" in networks else None
    if widths is None or type(side) is not int or not 0 < side <= _LARGEST_SAMPLE:
        return _SIDE
    return int(side * 2 ** (len(widths) - 1))
