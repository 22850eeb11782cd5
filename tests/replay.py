"""An engine that shows ground truth, one that freezes, and a judge that knows ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from conftest import stand_in_model
from torch import Tensor

from artv_cli.engine import FrameRequest, Watch
from artv_cli.evaluate.stories import Story, draw_stories, to_pixels
from artv_cli.evaluate.truth import WINDOW, Names, Part
from artv_cli.keys import frame_seed
from artv_cli.latents import Latents, Pixels
from artv_cli.model.folder import ModelFolder
from artv_cli.storybook.characters import EVERYBODY, Cast

SIDE = 32  # pixels of a frame, each way
SEGMENTS, FRAMES_LONG = 8, 32


def replay_stories() -> list[Story]:
    return list(draw_stories(SEGMENTS, 0, FRAMES_LONG, (SIDE, SIDE)))


def replay_model() -> ModelFolder:
    model = stand_in_model("replay")
    return replace(model, preferences=model.preferences.model_copy(update={"size": (SIDE, SIDE)}))


class ReplayEngine:
    """Draws what the world would; a frame's latents are its pixels.

    A long story shows its 16 frames over and over. `killed_after` frames it is interrupted.
    """

    def __init__(self, stories: Sequence[Story], killed_after: int | None = None) -> None:
        self.fingerprint = replay_model().fingerprint
        self.environment: Mapping[str, str] = {"engine": "replay 1"}
        self.drawn = 0
        self._killed_after = killed_after
        self._frames = {
            (prompt, frame_seed(story.seed, index)): frames[index % len(frames)]
            for story in stories
            for frames in [story.truth.frames]
            for prompt, index in _told(story)
        }

    def encode(self, pixels: Pixels) -> Latents:
        return Latents("float32", pixels.shape, pixels.astype("<f4").tobytes())

    def decode(self, latents: Latents) -> Pixels:
        return np.frombuffer(latents.data, "<f4").reshape(latents.shape).astype(np.uint8)

    def key_frame(self, request: FrameRequest) -> Latents:
        if self.drawn == self._killed_after:
            raise KeyboardInterrupt
        self.drawn += 1
        return self.encode(to_pixels(self._frames[request.prompt, request.seed]))

    def next_frame(
        self,
        request: FrameRequest,
        references: tuple[Latents, Latents],
        anchor: Latents,
        watch: Watch | None = None,
    ) -> Latents:
        return self.key_frame(request)


class FrozenEngine(ReplayEngine):
    """Repeats the frame before."""

    def next_frame(
        self,
        request: Any,
        references: tuple[Latents, Latents],
        anchor: Any,
        watch: Watch | None = None,
    ) -> Latents:
        return references[0]


def _told(story: Story) -> list[tuple[str, int]]:
    """Return the prompt and the place of each frame of a story."""
    prompts = [prompt for prompt, frames in story.segments for _ in range(frames)]
    return list(zip(prompts, range(len(prompts)), strict=True))


class ReplayJudge:
    """Looks up what the nearest ground truth shows."""

    fingerprint = "replay judge"
    cast: Cast = EVERYBODY
    scores: Mapping[Part, float] = {"character": 1.0, "scene": 1.0, "motion": 1.0}

    def __init__(self, stories: Sequence[Story]) -> None:
        shown = [(s.truth, end) for s in stories for end in {WINDOW, len(s.truth.frames)}]
        self._windows = torch.stack([truth.frames[end - WINDOW : end] for truth, end in shown])
        self._names = [truth.names[end - 1] for truth, end in shown]
        self._frames = torch.cat([story.truth.frames for story in stories])
        self._foreground = torch.cat([story.truth.foreground for story in stories])

    def name(self, frames: Tensor) -> Names:
        return self._names[int((self._windows - frames).abs().flatten(1).sum(1).argmin())]

    def foreground(self, frames: Tensor) -> Tensor:
        nearest = torch.cdist(frames.flatten(1), self._frames.flatten(1)).argmin(1)
        return self._foreground[nearest]
