"""How well captions fit frames, told by a CLIP model.

Legend: b frames, H W their size, s the side of the picture that CLIP sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from artv_cli.errors import ModelError
from artv_cli.latents import Pixels
from artv_cli.machine import memory_told, resolve_device
from artv_cli.model.repository import (
    HERE,
    digest,
    from_hub,
    local_folder,
    read_json,
    require_weights,
)
from artv_cli.model.weights import load_part, load_weights

SEEN = 4  # frames of a clip, evenly spaced
_PREPROCESSING = "preprocessor_config.json"


@dataclass(frozen=True)
class ClipFolder:
    """A CLIP model on disk: what its user calls it, and its folder."""

    name: str
    path: Path

    @property
    def fingerprint(self) -> str:
        """A SHA-256, in hexadecimal, of its weights, configuration and vocabulary."""
        return digest("artv-clip-1", self.path, {HERE: True}, None)


class CaptionScorer:
    """A CLIP model on a device; threads may share it, and take turns."""

    @memory_told()
    def __init__(self, folder: ClipFolder, device: str = "auto") -> None:
        """Load the model; raises ModelError where it is damaged or incomplete."""
        self._device = resolve_device(device)
        model: Any = load_weights(folder, HERE, CLIPModel, torch.float32, None)
        self._model = model.requires_grad_(False).eval().to(self._device)
        self._tokenizer = load_part(
            folder, HERE, AutoTokenizer.from_pretrained, trust_remote_code=False
        )
        self._mean, self._deviation = _normalisation(folder)
        self._turn = Lock()

    @memory_told()
    def score(self, frames: Sequence[Pixels], caption: str) -> float:
        """Return the cosine similarity of frames (H, W, 3) and a caption, the mean of a few frames.

        As the paper's CLIPSIM, -1 to 1. Words beyond what CLIP reads do not count.
        """
        chosen = np.linspace(0, len(frames) - 1, SEEN).round().astype(int)
        images = torch.from_numpy(np.stack([frames[index] for index in chosen]))
        with self._turn, torch.inference_mode():
            pictures = self._pictures(images)
            seen = self._model.visual_projection(self._model.vision_model(pictures).pooler_output)
            said = self._model.text_projection(self._text(caption))
            return float(F.cosine_similarity(seen, said).mean())

    def _pictures(self, images: Tensor) -> Tensor:
        """Map frames (b, H, W, 3) uint8 to what CLIP sees, (b, 3, s, s), cut from the middle."""
        side = int(self._model.config.vision_config.image_size)
        pictures = images.to(self._device).permute(0, 3, 1, 2).float() / 255
        height, width = pictures.shape[-2:]
        factor = side / min(height, width)
        size = max(side, round(height * factor)), max(side, round(width * factor))
        pictures = F.interpolate(pictures, size, mode="bicubic", antialias=True).clamp(0, 1)
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        pictures = pictures[..., top : top + side, left : left + side]
        return (pictures - self._mean.to(pictures)) / self._deviation.to(pictures)

    def _text(self, caption: str) -> Tensor:
        longest = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            [caption], max_length=longest, truncation=True, return_tensors="pt"
        )
        pooled: Tensor = self._model.text_model(tokens.input_ids.to(self._device)).pooler_output
        return pooled


def find_clip(name: str) -> ClipFolder:
    """Return the CLIP model called `name`, a folder or a hub id (`owner/name`).

    Only configurations, vocabularies and safetensors are fetched. Raises ModelError where there
    is none, or what is there is another kind of model.
    """
    here = local_folder(name, Path(), "a folder that holds a CLIP model")
    folder = ClipFolder(name, here or from_hub(name, None, None, HERE))
    kind = read_json(folder.path / "config.json", name).get("model_type")
    if kind != "clip":
        raise ModelError(
            f"{name} holds a {kind} model, not a CLIP model",
            "Name one such as openai/clip-vit-large-patch14.",
        )
    require_weights(folder.path, HERE, name, None)
    return folder


def _normalisation(folder: ClipFolder) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each colour, (3, 1, 1), that the model was trained with."""
    file = folder.path / _PREPROCESSING
    told = read_json(file, folder.name) if file.exists() else {}
    numbers = told.get("image_mean", OPENAI_CLIP_MEAN), told.get("image_std", OPENAI_CLIP_STD)
    mean, deviation = (torch.tensor(values, dtype=torch.float32) for values in numbers)
    return mean.view(3, 1, 1), deviation.view(3, 1, 1)
