"""A trained judge: names who does what where in 16 frames, and tells foreground from background.

A judge is a folder with `judge.safetensors` and `judge.json`: the world's digest and its classes,
the width, and what it scored on ground truth when it was saved. One ships inside the package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from artv_cli.errors import ModelError
from artv_cli.evaluate.network import JudgeNetwork
from artv_cli.evaluate.truth import CLASSES, PARTS, Names, Part
from artv_cli.files.durable import commit, make_folder
from artv_cli.model.repository import first_line
from artv_cli.storybook.characters import Cast
from artv_cli.storybook.world import SIZE, world_digest

WEIGHTS, CONFIG = "judge.safetensors", "judge.json"
EMBEDDED_JUDGE = Path(__file__).parent.parent / "storybook" / "judge"
REACH = 8  # pixels by which a foreground grows: what is drawn ends softly, and cells are coarse


class Judge(Protocol):
    """Whoever can name what is shown and where the background is."""

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides a verdict."""
        ...

    @property
    def cast(self) -> Cast:
        """The characters that it can tell apart."""
        ...

    @property
    def scores(self) -> Mapping[Part, float]:
        """The accuracies of character, scene and motion on held-out ground truth, 0 to 1."""
        ...

    def name(self, frames: Tensor) -> Names:
        """Say who does what where in (t, 3, h, w) frames in [-1, 1]."""
        ...

    def foreground(self, frames: Tensor) -> Tensor:
        """Return what is not background in (t, 3, h, w) frames, (t, 1, h, w) bool."""
        ...


class TrainedJudge:
    """Judges by a network; fulfils `Judge`."""

    def __init__(
        self,
        network: JudgeNetwork,
        cast: Cast,
        scores: Mapping[Part, float],
        fingerprint: str,
    ) -> None:
        self.network = network.eval()
        self.cast = cast
        self.scores = scores
        self.fingerprint = fingerprint

    @torch.inference_mode()
    def name(self, frames: Tensor) -> Names:
        reading = self.network(_resized(frames)[None])
        best = {part: CLASSES[part][int(reading.scores[part].argmax())] for part in PARTS}
        return Names(**best)

    @torch.inference_mode()
    def foreground(self, frames: Tensor) -> Tensor:
        _, scores = self.network.see(_resized(frames)[None])
        size = (frames.shape[-2], frames.shape[-1])
        share = F.interpolate(scores[0, :, None], size=size, mode="bilinear").sigmoid()
        return F.max_pool2d((share > 0.5).float(), 2 * REACH + 1, 1, REACH) > 0.5


def save_judge(
    folder: Path, weights: Mapping[str, Tensor], width: int, facts: Mapping[str, Any]
) -> None:
    """Write a judge, each file whole or not at all; `facts` hold its `cast` and its `scores`."""
    make_folder(folder)
    config = {"world": world_digest(), "classes": CLASSES, "width": width, **facts}
    half = {name: weight.half().contiguous() for name, weight in weights.items()}
    commit(folder / WEIGHTS, save(half))
    commit(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def load_judge(folder: Path) -> TrainedJudge:
    """Read a judge; ModelError where there is none, or where it knows another world."""
    try:
        config, weights = (folder / CONFIG).read_bytes(), (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ModelError(
            f"there is no judge in {folder}: {error.strerror or error}",
            f"Train one: `python -m artv_cli.evaluate.judge {folder} --minutes 60`.",
        ) from None
    try:
        facts = json.loads(config)
        known = facts["classes"], facts.get("world")
        if known != ({part: list(CLASSES[part]) for part in PARTS}, world_digest()):
            raise ModelError(
                f"the judge in {folder} knows another world than this one",
                "Train one in an empty folder.",
            )
        cast = frozenset(map(str, facts["cast"]))
        network = JudgeNetwork(count_classes(), facts["width"])
        network.load_state_dict({name: w.float() for name, w in load(weights).items()})
        scores = {part: float(facts["scores"][part]) for part in PARTS}
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the judge in {folder} cannot be read: {first_line(error)}",
            "Train one in an empty folder.",
        ) from None
    return TrainedJudge(network, cast, scores, hashlib.sha256(config + weights).hexdigest())


def count_classes() -> dict[Part, int]:
    """Return how many characters, scenes and motions there are to be told apart."""
    return {part: len(CLASSES[part]) for part in PARTS}


def _resized(frames: Tensor) -> Tensor:
    if frames.shape[-2:] == SIZE:
        return frames
    return F.interpolate(frames, size=SIZE, mode="bilinear", antialias=True)
