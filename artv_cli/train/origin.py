"""What a training by a recipe began with, and what its state is gone on with by alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from artv_cli.model.folder import ModelFolder
from artv_cli.settings import StaticNoise
from artv_cli.train.checkpoint import Origin
from artv_cli.train.shards import Sample
from artv_cli.train.training_recipe import TrainingRecipe

LASTING = (
    "batch_size", "seed", "loss_of", "shift", "max_noise_level", "drops", "anchor_window", "lora",
)  # fmt: skip


def origin_of(
    recipe: TrainingRecipe,
    base: ModelFolder,
    size: tuple[int, int],
    static_noise: StaticNoise,
    samples: Sequence[Sample],
) -> Origin:
    """Return what must not change on the way; rates, precision and budget may."""
    told = recipe.model_dump(include=set(LASTING))
    return {
        "model": base.fingerprint,
        "share of validation": recipe.validation.share,
        "data": _digest(samples),
        "size": size,
        "static_noise": static_noise,
        **{name: told[name] for name in LASTING},
    }


def _digest(samples: Sequence[Sample]) -> str:
    # Shards and keys are called alike in every folder. Where a clip lies, and whether its latents
    # are beside it, changes nothing of it.
    told = [[s.shard.name, s.key, s.frames, s.source, s.video[1], s.caption[1]] for s in samples]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
