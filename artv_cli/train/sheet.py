"""What a model under training draws, at a glance: a sheet of real clips and of drawn ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from artv_cli.artv_engine import ArtvEngine
from artv_cli.engine import FrameRequest
from artv_cli.latents import Latents, Pixels
from artv_cli.media.stills import contact_sheet
from artv_cli.model.folder import Preferences
from artv_cli.model.weights import Model
from artv_cli.train.examples import UnreadableClip
from artv_cli.train.training_recipe import SheetsForm
from artv_cli.train.video_clips import VideoClips

SEED = 0  # one and the same noise on every sheet, so that two of them compare


def draw_sheet(
    model: Model, liked: Preferences, size: tuple[int, int], clips: VideoClips, form: SheetsForm
) -> Pixels | None:
    """Return a sheet (h, w, 3), or None where there is nothing to show.

    Each clip gives two rows, its own frames and the model's, which go on from its first one; each
    prompt gives one, from words alone. All is drawn as the model likes it, but for the steps.
    """
    engine = ArtvEngine(model, "", device=str(next(model.networks.parameters()).device))
    request = FrameRequest("", SEED, size, replace(liked.sampling, steps=form.steps))
    of_keys = replace(liked.key_sampling, steps=form.steps)
    rows: list[Pixels] = []
    for clip in range(min(form.clips, len(clips))):
        length = min(form.frames, clips.length(clip))
        try:
            real = clips.pictures(clip, range(length))
            words = clips.caption(clip, 0, np.random.default_rng(SEED))
        except UnreadableClip:
            continue
        first = engine.encode(real[0])
        rows += [*_padded(list(real), form.frames)]
        rows += [*_padded(list(_continue(engine, replace(request, prompt=words), first, length)),
                          form.frames)]  # fmt: skip
    for prompt in form.prompts:
        asked = replace(request, prompt=prompt)
        key = engine.key_frame(replace(asked, sampling=of_keys))
        rows += [*_continue(engine, asked, key, form.frames)]
    return contact_sheet(rows, form.frames) if rows else None


@torch.no_grad()
def _continue(
    engine: ArtvEngine, request: FrameRequest, key: Latents, length: int
) -> Iterator[Pixels]:
    """Yield a clip's pictures: its key frame, and what the model makes of it (Sec. 3.1)."""
    frames = [key, key]
    yield engine.decode(key)
    for number in range(1, length):
        asked = replace(request, seed=request.seed + number)
        frames.append(engine.next_frame(asked, (frames[-1], frames[-2]), key))
        yield engine.decode(frames[-1])


def _padded(frames: list[Pixels], columns: int) -> list[Pixels]:
    blank = np.full_like(frames[0], 255)
    return frames + [blank] * (columns - len(frames))
