"""The embedded model in two sizes: one architecture, for two CPU cores or for a card."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Literal

from artv_cli.storybook.characters import EVERYBODY, PLAIN, Cast
from artv_cli.train.budget import Budget
from artv_cli.train.recipe import Recipe
from artv_cli.train.storybook import RECIPE, SMALL, NetworkSizes, UNetSize
from artv_cli.train.vae_recipe import VaeRecipe


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How large each piece is, how long it is trained, and where.

    `vae` is trained for `vae_budget` on the whole world; the bank holds `clips` clips of `length`
    frames that show the `cast`, `shard` of them a file; the networks have `networks` sizes and are
    trained by `recipe`, `compiled` or not. Clips are composed by `workers` processes (0: by the one
    that trains), shared out over those that a launcher started.
    """

    name: str
    place: Literal["cpu", "card"]
    vae: VaeRecipe
    vae_budget: Budget
    cast: Cast = EVERYBODY
    clips: int
    length: int
    shard: int = 50
    networks: NetworkSizes
    recipe: Recipe
    compiled: bool = False
    workers: int = 0


CPU = Preset(
    name="cpu",
    place="cpu",
    vae=VaeRecipe(),
    vae_budget=Budget(seconds=34 * 60),
    cast=PLAIN,
    clips=5000,
    length=16,
    networks=SMALL,
    recipe=RECIPE,
)
GPU = Preset(
    name="gpu",
    place="card",
    vae=VaeRecipe(widths=(32, 64, 96, 128), clips=32),
    vae_budget=Budget(seconds=5 * 60),
    clips=20_000,
    length=16,
    networks=NetworkSizes(
        dynamic=UNetSize(channels=(192, 192, 192), heads=(3, 3, 3)),
        mask=UNetSize(channels=(48, 48, 96), heads=(1, 1, 2)),
    ),
    recipe=replace(
        RECIPE, samples=2_500_000, batch_size=512, learning_rate=6e-4, warmup=300, ema_decay=0.999
    ),
    compiled=True,
    workers=min(15, max(1, (os.cpu_count() or 2) - 1)),
)
PRESETS = {preset.name: preset for preset in (CPU, GPU)}
