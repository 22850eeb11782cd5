"""From a clip to what one training example holds: a frame, its references, its anchor (Sec. 3, 4).

Conditions are dropped here, each on its own with probability 10 % (Sec. 4); a further share of
the examples are key frames, which have neither references nor anchor, since the embedded model
must also draw a story's first frame from words alone.

Which frames an example takes is drawn first and costs nothing; then they are loaded, which may
mean decoding a video, and encoded, a batch at a time.

Legend: b batch, k frames, c latent channels, h w latent size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from artv_cli.errors import ArtvError

PATIENCE = 100  # clips in a row that may be unreadable


class UnreadableClip(Exception):
    """A clip's frames cannot be had; another is drawn in its place."""


class Clips(Protocol):
    """Captioned clips as latents, scaled to unit deviation."""

    def __len__(self) -> int: ...

    def latents(self, clip: int) -> Tensor:
        """All frames of a clip: (frames, c, h, w)."""
        ...

    def caption(self, clip: int, frame: int, rng: np.random.Generator, *, complete: bool) -> str:
        """One of the ways of saying what happens in a frame.

        A `complete` one names the character, for frames whose references are blank.
        UnreadableClip if it fails.
        """
        ...

    def length(self, clip: int) -> int:
        """How many frames a clip has."""
        return len(self.latents(clip))

    def beginnings(self, clip: int) -> Sequence[int]:
        """The frames in which a motion begins: their references do not show it, words must."""
        return (1,)

    def expect(self, picks: Sequence[Pick]) -> None:
        """Hear which frames will soon be loaded, so that the work on them can begin."""
        return

    def load(self, clip: int, frames: Sequence[int]) -> Tensor:
        """Some frames of a clip, in whatever form `encode` takes; UnreadableClip if they fail."""
        return self.latents(clip)[list(frames)]

    def encode(self, loaded: Sequence[Tensor]) -> Tensor:
        """The latents of loaded frames, for each example as many: (b, k, c, h, w)."""
        return torch.stack(list(loaded))


@dataclass(frozen=True, kw_only=True)
class Drops:
    """How often a condition is blank, and how far back the anchor may lie.

    Key frames are drawn from the first `opening` frames of a clip (None: from all). Of the other
    frames, a share of `beginnings` are those in which a motion begins.
    """

    references: float = 0.1
    anchor: float = 0.1
    text: float = 0.1
    key_frames: float = 0.0
    opening: int | None = None
    beginnings: float = 0.0
    anchor_window: int = 10


NO_DROPS = Drops(references=0, anchor=0, text=0)


@dataclass(frozen=True)
class Pick:
    """Which frames of a clip make an example: the target, y_{i-1}, y_{i-2} and the anchor."""

    clip: int
    frames: tuple[int, int, int, int]
    has_reference: bool
    has_anchor: bool
    has_text: bool


@dataclass(frozen=True)
class Examples:
    """A batch of frames to learn, with clean conditions; blank ones are zeros and empty strings.

    `target`, `previous` (y_{i-1}) and `anchor`: (b, c, h, w); `references` (y_{i-1}, y_{i-2}):
    (b, 2c, h, w); `has_reference` and `has_anchor`: (b, 1, 1, 1), 0 where blank.
    """

    target: Tensor
    references: Tensor
    previous: Tensor
    anchor: Tensor
    captions: Sequence[str]
    has_reference: Tensor
    has_anchor: Tensor

    def to(self, device: torch.device) -> Examples:
        """Return these examples on a device."""
        moved: dict[str, Any] = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return Examples(**moved)


def clip_at(number: int, clips: int, seed: int) -> int:
    """Return which of so many `clips` example `number` is drawn from: all of them in each round.

    Every round has an order of its own, which the seed decides.
    """
    return int(_order(number // clips, clips, seed)[number % clips])


@lru_cache(maxsize=2)  # a batch lies in two rounds at most
def _order(round: int, clips: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, round)).permutation(clips)


def pick_frames(clips: Clips, clip: int, drops: Drops, rng: np.random.Generator) -> Pick:
    """Draw which frame of a clip is learned, from what, and what is left blank."""
    is_key = rng.random() < drops.key_frames
    length = clips.length(clip)
    if is_key:
        frame = int(rng.integers(min(drops.opening or length, length)))
    elif rng.random() < drops.beginnings:
        frame = int(rng.choice(clips.beginnings(clip)))
    else:
        frame = int(rng.integers(1, length))
    # The first generated frame has the key frame for both references (Sec. 3.1).
    first, second = max(frame - 1, 0), max(frame - 2, 0)
    anchor = int(rng.integers(max(frame - drops.anchor_window, 0), max(frame, 1)))
    has_reference = not is_key and rng.random() >= drops.references
    has_anchor = not is_key and rng.random() >= drops.anchor
    has_text = rng.random() >= drops.text
    return Pick(clip, (frame, first, second, anchor), has_reference, has_anchor, has_text)


def gather_examples(
    clips: Clips, picks: Sequence[Pick], drops: Drops, rngs: Sequence[np.random.Generator]
) -> Examples:
    """Return the picked examples; where a clip is unreadable, its generator draws another.

    Raises ArtvError where nothing but unreadable clips is met.
    """
    rows = [_load(clips, pick, drops, rng) for pick, rng in zip(picks, rngs, strict=True)]
    frames = clips.encode([loaded for _, _, loaded in rows]).float()  # (b, 4, c, h, w)
    target, first, second, anchor = frames.unbind(1)
    has_reference = _column([pick.has_reference for pick, _, _ in rows]).to(frames.device)
    has_anchor = _column([pick.has_anchor for pick, _, _ in rows]).to(frames.device)
    return Examples(
        target=target,
        references=torch.cat([first, second], dim=1) * has_reference,
        previous=first,
        anchor=anchor * has_anchor,
        captions=[caption for _, caption, _ in rows],
        has_reference=has_reference,
        has_anchor=has_anchor,
    )


def held_out_examples(
    clips: Clips, numbers: Sequence[int], rngs: Sequence[np.random.Generator]
) -> Examples | None:
    """Return examples by their numbers, with all conditions; None where no clip can be read."""
    pairs = zip(numbers, rngs, strict=True)
    picks = [pick_frames(clips, n % len(clips), NO_DROPS, rng) for n, rng in pairs]
    try:
        return gather_examples(clips, picks, NO_DROPS, rngs)
    except ArtvError:
        return None


def _load(
    clips: Clips, pick: Pick, drops: Drops, rng: np.random.Generator
) -> tuple[Pick, str, Tensor]:
    """Return what was picked, or another pick in its place, with its caption and its frames."""
    for _ in range(PATIENCE):
        try:
            loaded = clips.load(pick.clip, pick.frames)
            return pick, _caption(clips, pick, rng), loaded
        except UnreadableClip:
            pick = pick_frames(clips, int(rng.integers(len(clips))), drops, rng)
    raise ArtvError(
        f"{PATIENCE} clips in a row cannot be read", "Make the shards again: `artv prepare`."
    )


def _caption(clips: Clips, pick: Pick, rng: np.random.Generator) -> str:
    if not pick.has_text:
        return ""
    return clips.caption(pick.clip, pick.frames[0], rng, complete=not pick.has_reference)


def _column(flags: Sequence[bool]) -> Tensor:
    return torch.tensor(flags, dtype=torch.float32)[:, None, None, None]
