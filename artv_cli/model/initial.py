"""A fresh ART·V made of a text-to-image base: complete, untrained, and drawing as the base does.

Φ_dynamic takes over the base's UNet; adapter, anchor path and noise levels are silent at first,
and Φ_mask, random, says nothing where the references are blank. So a key frame of the fresh model
is the base's image.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import AutoTokenizer, CLIPTextModel

from artv_cli.errors import StorageError, UsageError
from artv_cli.files.output import replacing
from artv_cli.latents import ITEM_SIZE, Dtype
from artv_cli.model.base import WEIGHTED, Base
from artv_cli.model.folder import Preferences
from artv_cli.model.header import read_header
from artv_cli.model.ldm import load_ldm_part
from artv_cli.model.repository import weight_files
from artv_cli.model.scheduler import paper_scheduler
from artv_cli.model.unet import ConditionedUNet
from artv_cli.model.weights import (
    load_part,
    load_weights,
    require_words,
    save_index,
    save_part,
    silent_libraries,
)
from artv_cli.settings import Guidance, Sampling

PAPER_SAMPLING = Sampling(
    sampler="dpmpp_2s_ancestral",
    steps=50,
    guidance=Guidance(text=6.5, reference=0.25, anchor=0.25, on="composed"),
    noise_level=200,
)
"""Appendix A."""

PAPER_SIZE = (320, 320)  # width and height in pixels: what the paper trains at (Sec. 4)

SEED = 0  # of what is random at first: one base always becomes one and the same model
MASK_SHARE, MASK_HEAD_WIDTH = 5, 32  # Table 2: 320 channels to 64, heads of 32
GROWTH = 1.35  # of the UNet by adapter, anchor path, noise levels and Φ_mask (Table 2)
KINDS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}


def write_initial_model(
    base: Base,
    out: Path,
    *,
    dtype: Dtype = "float32",
    size: tuple[int, int] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> None:
    """Write the fresh model of a base into the folder `out`, whole or not at all.

    One part is in memory at a time. `size`: width and height that the model is trained at and
    likes to draw, by default the paper's. Raises UsageError if there is something in `out`,
    ModelError for bad weights, StorageError where there is no room.
    """
    _require_empty(out)
    size = size or PAPER_SIZE
    if any(side % base.size_multiple for side in size):
        raise UsageError(
            f"--size: {size[0]}x{size[1]} does not suit the base.",
            f"Its frames are multiples of {base.size_multiple}.",
        )
    with replacing(out) as folder:
        _require_room(base, folder.parent, dtype)
        folder.mkdir()
        kinds = {}
        for name, make in _makers(base, getattr(torch, dtype)).items():
            say(f"writing {name}")
            kinds[name] = save_part(folder, name, make())
        preferences = Preferences(
            size=size, static_noise="exact", dtype=dtype, sampling=PAPER_SAMPLING
        )
        save_index(folder, kinds, preferences)


def mask_config(unet_config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of Φ_mask: the UNet's, a fifth as wide, with one output channel.

    Widths are rounded to whole groups of the normalisation. For Stable Diffusion 2.1 this is
    Table 2.
    """
    groups = unet_config.get("norm_num_groups", 32)
    widths = [
        max(1, round(width / MASK_SHARE / groups)) * groups
        for width in unet_config["block_out_channels"]
    ]
    return {
        **unet_config,
        "out_channels": 1,
        "block_out_channels": widths,
        "attention_head_dim": [max(1, width // MASK_HEAD_WIDTH) for width in widths],
    }


def _makers(base: Base, dtype: torch.dtype) -> dict[str, Callable[[], Any]]:
    """Return what makes each part of the model, one after the other."""
    scheduler = base.configs["scheduler"]
    return {
        "dynamic": lambda: _fresh(
            lambda: ConditionedUNet.from_base(_load(base, "unet", dtype), base.unet_config), dtype
        ),
        "mask": lambda: _fresh(lambda: ConditionedUNet(mask_config(base.unet_config)), dtype),
        "vae": lambda: _load(base, "vae", dtype),
        "text_encoder": lambda: _load(base, "text_encoder", dtype),
        "tokenizer": lambda: _tokenizer(base),
        "scheduler": lambda: paper_scheduler(
            base.prediction, scheduler["beta_start"], scheduler["beta_end"]
        ),
    }


def _fresh(make: Callable[[], ConditionedUNet], dtype: torch.dtype) -> ConditionedUNet:
    with torch.random.fork_rng(devices=[]), silent_libraries():
        torch.manual_seed(SEED)
        return make().to(dtype)


def _load(base: Base, part: str, dtype: torch.dtype) -> nn.Module:
    if base.path.is_file():
        module = load_ldm_part(base.path, base.name, part, base.configs[part])
        with silent_libraries():
            return module.to(dtype)
    return load_weights(base, part, KINDS[part], dtype, base.variant)


def _tokenizer(base: Base) -> Any:
    def load(_: Path, **options: Any) -> Any:
        return AutoTokenizer.from_pretrained(base.tokenizer, trust_remote_code=False, **options)

    tokenizer = load_part(base, "tokenizer", load)
    require_words(base, tokenizer, base.configs["text_encoder"]["vocab_size"])
    return tokenizer


def _require_empty(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise UsageError(
            f"--out: {out} is there already, and holds something.", "Name a new or empty folder."
        )


def _require_room(base: Base, folder: Path, dtype: Dtype) -> None:
    """Refuse before anything is read what would fill the disk."""
    need = ITEM_SIZE[dtype] * math.ceil(_values(base))
    free = shutil.disk_usage(folder).free
    if free < need:
        raise StorageError(
            f"the model takes {need / 1e9:.1f} GB, and there is room for {free / 1e9:.1f} GB in"
            f" {folder}",
            "Free some space, or name a folder on another disk with --out.",
        )


def _values(base: Base) -> float:
    """Return how many numbers the model will hold, to a few percent."""
    if base.path.is_file():
        return GROWTH * sum(info.count for info in read_header(base.path, base.name).values())
    counts = {
        part: sum(
            info.count
            for file in weight_files(base.path, part, base.variant)
            for info in read_header(file, base.name).values()
        )
        for part in WEIGHTED
    }
    return counts.pop("unet") * GROWTH + sum(counts.values())
