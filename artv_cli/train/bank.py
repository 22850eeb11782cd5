"""A bank of precomputed latents: the training clips, encoded once.

A folder of shards, `clips-00000.safetensors` and so on. Each holds `latents` (n, t, c, h, w) in
fp16, scaled to unit deviation, and in its header the scripts of its clips as JSON. Captions are
not stored: the grammar says them anew each time that a frame is drawn. A shard is there whole or
not at all, so an interrupted build goes on where it stopped, and a trainer may read the bank while
it grows.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from torch import Tensor

from artv_cli.errors import UsageError
from artv_cli.files.output import replacing
from artv_cli.machine import autocast
from artv_cli.model.codec import encode_images
from artv_cli.storybook.captions import Random, say
from artv_cli.storybook.characters import EVERYBODY, Cast
from artv_cli.storybook.repertoire import SURROUNDINGS, Motion
from artv_cli.storybook.script import Script
from artv_cli.storybook.world import sample_clip, world_digest
from artv_cli.train.checkpoint import save_tensors
from artv_cli.train.composition import composed
from artv_cli.train.examples import Clips
from artv_cli.train.parallel import join, wait
from artv_cli.train.run_folder import claim

SETTINGS = "bank.json"
SELDOM: frozenset[Motion] = SURROUNDINGS | {"up", "down", "sleep"}
"""What the world's clips show least: the camera, the light, and what not everybody can do."""
Report = Callable[[str], None]


def build_bank(
    vae: AutoencoderKL,
    out: Path,
    clips: int,
    length: int,
    seed: int = 0,
    shard: int = 50,
    report: Report = print,
    *,
    cast: Cast = EVERYBODY,
    seconds: float = math.inf,
    workers: int = 0,
) -> bool:
    """Encode clips `seed`, `seed + 1`, … of a cast into `out`; tell whether all are there.

    Each has `length` frames. Shards that stand there are kept; no new one is begun after `seconds`.
    Processes that a launcher started share the shards, and each has `workers` more that compose
    its clips. The number of clips is rounded up to whole shards, so that a bank can be enlarged
    later. Raises UsageError where `out` holds a bank of another world, cast, VAE, length, seed or
    shard size, and StorageError.
    """
    rank, size = join()
    if rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        made_from = {"world": world_digest(), "cast": sorted(cast), "vae": fingerprint(vae)}
        _claim(out, {"length": length, "seed": seed, "shard": shard, **made_from})
    wait()
    files = [out / f"clips-{index:05}.safetensors" for index in range(math.ceil(clips / shard))]
    missing = [i for i, file in enumerate(files) if i % size == rank and not file.exists()]
    numbers = [seed + index * shard + place for index in missing for place in range(shard)]
    start = time.monotonic()
    with closing(composed(partial(_arrays, length, cast), numbers, workers)) as made:
        for count, index in enumerate(missing, 1):
            if time.monotonic() - start >= seconds:
                break
            _write(files[index], vae, islice(made, shard))
            rate = count * shard * length * size / (time.monotonic() - start)
            if rank == 0:
                there = shard * sum(file.exists() for file in files)
                report(f"{there} of {shard * len(files)} clips, {rate:.0f} frames a second")
    wait()
    return all(file.exists() for file in files)


def fingerprint(vae: AutoencoderKL) -> str:
    """Return the SHA-256 over a VAE's weights and the scale of its latents, in hexadecimal."""
    digest = hashlib.sha256(f"{vae.config.scaling_factor} {vae.config.shift_factor}".encode())
    for name, weight in sorted(vae.state_dict().items()):
        digest.update(name.encode() + weight.cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Write what the bank is made from, or compare it with what stands there."""
    if different := sorted(claim(out / SETTINGS, settings)):
        raise UsageError(
            f"{out} holds a bank with another {', '.join(different)}",
            "Give an empty folder, or delete this one.",
        )


def _arrays(length: int, cast: Cast, seed: int) -> tuple[np.ndarray, Script]:
    clip = sample_clip(seed, length, cast=cast)
    return clip.frames.numpy(), clip.script


@torch.no_grad()
def _write(file: Path, vae: AutoencoderKL, clips: Iterable[tuple[np.ndarray, Script]]) -> None:
    codes, scripts = [], []
    for pixels, script in clips:
        frames = torch.from_numpy(pixels).to(vae.device)
        # bf16 costs the latents less than a hundredth of their deviation.
        with autocast(frames.device.type):
            codes.append(encode_images(vae, frames).half().cpu())
        scripts.append(asdict(script))
    latents = torch.stack(codes).contiguous()
    with replacing(file) as part:
        save_tensors({"latents": latents}, part, {"scripts": json.dumps(scripts)})


class Bank(Clips):
    """The clips of a folder that `build_bank` fills: those of its finished shards.

    A clip with a motion that is `SELDOM` seen counts as two, so that a model learns that as well.
    Raises UsageError where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._latents: list[Tensor] = []
        self._scripts: list[Script] = []
        for file in sorted(folder.glob("clips-*.safetensors")):
            for latents, script in _shard(file):
                for _ in range(2 if SELDOM & set(script.motions) else 1):
                    self._latents.append(latents)
                    self._scripts.append(script)
        if not self._scripts:
            raise UsageError(f"{folder} holds no clips", "Build a bank there first.")

    def __len__(self) -> int:
        return len(self._scripts)

    def latents(self, clip: int) -> Tensor:
        """Return all frames of a clip, (t, c, h, w) fp16, scaled to unit deviation."""
        return self._latents[clip]

    def beginnings(self, clip: int) -> tuple[int, ...]:
        """Return the frame after the first, and the one in which the motion changes, if any."""
        switch = self._scripts[clip].switch
        return (1, switch) if 1 < switch < self.length(clip) else (1,)

    def script(self, clip: int) -> Script:
        """Return who does what, and where."""
        return self._scripts[clip]

    def caption(self, clip: int, frame: int, rng: Random, *, complete: bool = False) -> str:
        """Return one of the ways of saying what happens in a frame.

        After the switch a caption goes on from what came before ("then it jumps"), before it
        rarely; a `complete` one always names the character, for frames without references.
        """
        script = self._scripts[clip]
        switched = frame >= script.switch
        continuing = not complete and (switched or (frame > 0 and rng.random() < 0.15))
        return say(script, frame, rng, continuing=continuing)


def _shard(file: Path) -> Iterator[tuple[Tensor, Script]]:
    with safe_open(file, "pt") as shard:
        scripts = json.loads(shard.metadata()["scripts"])
        latents = shard.get_tensor("latents")
    for clip, script in zip(latents, scripts, strict=True):
        yield clip, Script(**{**script, "motions": tuple(script["motions"])})
