"""From a training to a model folder that renders: the averaged networks, and the rest as it was."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artv_cli.files.output import replacing
from artv_cli.model.folder import PARTS, WEIGHTED_PARTS, ModelFolder
from artv_cli.model.repository import CONFIGS, INDEX, read_json, weight_files
from artv_cli.model.unet import ConditionedUNet
from artv_cli.model.weights import save_index, save_part
from artv_cli.settings import StaticNoise

NETWORKS = ("dynamic", "mask")


def write_trained_model(
    base: ModelFolder,
    weights: Mapping[str, Tensor],
    out: Path,
    *,
    size: tuple[int, int],
    static_noise: StaticNoise,
) -> None:
    """Write a model folder, whole or not at all, in the dtype of the one that training began with.

    `weights`: of both networks, by their names in `ArtV`. Raises StorageError.
    """
    preferences = base.preferences.model_copy(update={"size": size, "static_noise": static_noise})
    index = read_json(base.path / INDEX, base.name)
    kinds: dict[str, Any] = {part: index.get(part) for part in PARTS}
    with replacing(out) as folder:
        folder.mkdir()
        for part in PARTS:
            if part in NETWORKS:
                network = _network(base, part, weights, getattr(torch, preferences.dtype))
                kinds[part] = save_part(folder, part, network)
            else:
                _copy(base.path, part, folder)
        save_index(folder, kinds, preferences)


def _network(
    base: ModelFolder, part: str, weights: Mapping[str, Tensor], dtype: torch.dtype
) -> ConditionedUNet:
    """Return a network around these weights."""
    config = read_json(base.path / part / PARTS[part], base.name)["unet_config"]
    with torch.device("meta"):
        network = ConditionedUNet(config)
    start = f"{part}."
    own = {
        name.removeprefix(start): weight.detach().to("cpu", dtype).contiguous()
        for name, weight in weights.items()
        if name.startswith(start)
    }
    network.load_state_dict(own, assign=True)
    return network


def _copy(path: Path, part: str, folder: Path) -> None:
    """Copy what a model is read from: configs, vocabularies, safetensors."""
    (folder / part).mkdir()
    texts = [f for f in (path / part).iterdir() if f.suffix in CONFIGS]
    for file in [*texts, *(weight_files(path, part, None) if part in WEIGHTED_PARTS else [])]:
        shutil.copyfile(file, folder / part / file.name)
