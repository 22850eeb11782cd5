"""From a clip to what one training example holds: a frame, its references, its anchor (Sec. 3, 4).

Conditions are dropped here, each on its own with probability 10 % (Sec. 4); a further share of
the examples are key frames, which have neither references nor anchor, since the embedded model
must also draw a story's first frame from words alone.

Legend: b batch, c latent channels, h w latent size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Clips(Protocol):
    """Captioned clips as latents, scaled to unit deviation."""

    def __len__(self) -> int: ...

    def latents(self, clip: int) -> Tensor:
        """All frames of a clip: (frames, c, h, w)."""
        ...

    def caption(self, clip: int, frame: int, rng: np.random.Generator, *, complete: bool) -> str:
        """One of the ways of saying what happens in a frame.

        A `complete` one names the character, for frames whose references are blank.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Drops:
    """How often a condition is blank, and how far back the anchor may lie."""

    references: float = 0.1
    anchor: float = 0.1
    text: float = 0.1
    key_frames: float = 0.0
    anchor_window: int = 10


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


def draw_examples(clips: Clips, count: int, drops: Drops, rng: np.random.Generator) -> Examples:
    """Draw `count` examples, each from a random frame of a random clip."""
    rows = [_draw(clips, drops, rng) for _ in range(count)]
    frames = torch.stack([row[0] for row in rows]).float()  # (b, 4, c, h, w)
    target, first, second, anchor = frames.unbind(1)
    has_reference = _column([row[1] for row in rows])
    has_anchor = _column([row[2] for row in rows])
    return Examples(
        target=target,
        references=torch.cat([first, second], dim=1) * has_reference,
        previous=first,
        anchor=anchor * has_anchor,
        captions=[row[3] for row in rows],
        has_reference=has_reference,
        has_anchor=has_anchor,
    )


def _draw(clips: Clips, drops: Drops, rng: np.random.Generator) -> tuple[Tensor, bool, bool, str]:
    clip = int(rng.integers(len(clips)))
    latents = clips.latents(clip)
    is_key = rng.random() < drops.key_frames
    frame = int(rng.integers(0 if is_key else 1, len(latents)))
    # The first generated frame has the key frame for both references (Sec. 3.1).
    first, second = max(frame - 1, 0), max(frame - 2, 0)
    anchor = int(rng.integers(max(frame - drops.anchor_window, 0), max(frame, 1)))
    has_reference = not is_key and rng.random() >= drops.references
    has_anchor = not is_key and rng.random() >= drops.anchor
    has_text = rng.random() >= drops.text
    caption = clips.caption(clip, frame, rng, complete=not has_reference) if has_text else ""
    return latents[[frame, first, second, anchor]], has_reference, has_anchor, caption


def _column(flags: Sequence[bool]) -> Tensor:
    return torch.tensor(flags, dtype=torch.float32)[:, None, None, None]
