"""The stories by which a model is judged, and how an engine tells them, one frame at a time.

Each story is asked for in the words of a ground-truth clip whose combination of character, scene
and motion was never trained on. Of every hundred judged segments (of each story the last one) come

    text    50   16 frames from words alone
    switch  25   16 frames, then 16 more of another motion
    image   25   a clip's first frame, then 16 frames

and besides them

    long     5   256 frames, to and fro, with another prompt every 16 frames

The words of a long story do not keep to held-out motions: it asks whether a picture lasts, and is
anchored at its first frame throughout (`anchor: first`, Sec. 3.4), which is how it is told to.
Camera, light and weather rest in it; in the others they may be what is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from artv_cli.engine import Engine, Watch
from artv_cli.evaluate.truth import WINDOW, Truth, find_held_out, long_captions
from artv_cli.latents import Latents, Pixels
from artv_cli.plan import ModelIdentity, RenderPlan, make_plan
from artv_cli.settings import Settings
from artv_cli.storyboard import Segment, Storyboard
from artv_cli.storybook.characters import EVERYBODY, Cast

Kind = Literal["text", "switch", "image", "long"]
SHARES: Mapping[Kind, float] = {"text": 0.5, "switch": 0.25, "image": 0.25, "long": 0.05}
_GIVEN = "given"  # what the plan calls the image of a story


@dataclass(frozen=True)
class Story:
    """What is asked for: prompts with their numbers of frames, and perhaps the first picture.

    `truth` is what the judged windows would be in the world: as many frames as `segments` have,
    or the 16 frames with which a long story is compared.
    """

    kind: Kind
    number: int
    seed: int
    segments: tuple[tuple[str, int], ...]
    truth: Truth
    image: Pixels | None = None

    @property
    def name(self) -> str:
        """What it is called in a record."""
        return f"{self.kind}-{self.number}"

    @property
    def anchor(self) -> Literal["previous", "first"]:
        """What its segments are anchored at."""
        return "first" if self.kind == "long" else "previous"

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of what is asked for and of what it is compared with."""
        asked = [self.kind, self.seed, self.segments, self.anchor]
        told = hashlib.sha256(json.dumps(asked).encode())
        told.update(to_pixels(self.truth.frames[-1]).tobytes())
        return told.hexdigest()


def count_stories(segments: int, long: int | None = None) -> dict[Kind, int]:
    """Return how many stories of each kind there are: of each at least one, `long` of those."""
    counts = {kind: max(1, round(share * segments)) for kind, share in SHARES.items()}
    return counts if long is None else counts | {"long": long}


def draw_stories(
    segments: int,
    seed: int,
    frames_long: int,
    size: tuple[int, int],
    cast: Cast = EVERYBODY,
    long: int | None = None,
) -> Iterator[Story]:
    """Yield a cast's stories of `segments` segments and the `long` ones, mixed; `size` is (h, w).

    With more segments there are the same stories and others among them.
    """
    counts = count_stories(segments, long)
    order = sorted(
        (number / counts[kind], kind, number) for kind in counts for number in range(counts[kind])
    )
    for _, kind, number in order:
        yield draw_story(kind, number, seed, frames_long, size, cast)


def draw_story(
    kind: Kind,
    number: int,
    seed: int,
    frames_long: int,
    size: tuple[int, int],
    cast: Cast = EVERYBODY,
) -> Story:
    """Return one story: a pure function of its arguments."""
    digest = hashlib.sha256(f"artv-story-v1 {seed} {kind} {number}".encode()).digest()
    own = int.from_bytes(digest[:5], "big")
    if kind == "switch":
        truth = find_held_out(
            own, 3 * WINDOW, size, lambda motions: _switch(motions) is not None, cast=cast
        )
        at = _switch([names.motion for names in truth.names]) or 0
        prompts = ((truth.captions[0], WINDOW), (truth.captions[at], WINDOW))
        return Story(kind, number, own, prompts, truth.part(at - WINDOW, at + WINDOW))
    length = WINDOW + 1 if kind == "image" else WINDOW
    truth = find_held_out(
        own,
        length,
        size,
        lambda motions: len(set(motions)) == 1,
        at_rest=kind == "long",
        cast=cast,
    )
    if kind == "image":
        image = to_pixels(truth.frames[0])
        return Story(kind, number, own, ((truth.captions[0], length),), truth, image)
    if kind == "text":
        return Story(kind, number, own, ((truth.captions[0], length),), truth)
    return Story(kind, number, own, _long_segments(truth, frames_long, own), truth)


def _long_segments(truth: Truth, frames: int, seed: int) -> tuple[tuple[str, int], ...]:
    lengths = [min(WINDOW, frames - start) for start in range(0, frames, WINDOW)]
    captions = long_captions(truth.names[0], len(lengths), seed)
    return tuple(zip(captions, lengths, strict=True))


def _switch(motions: tuple[str, ...] | list[str]) -> int | None:
    """Return the frame from which on another motion shows, with a window of either around it."""
    for at in range(WINDOW, len(motions) - WINDOW + 1):
        before, after = set(motions[at - WINDOW : at]), set(motions[at : at + WINDOW])
        if len(before) == len(after) == 1 and before != after:
            return at
    return None


def plan_story(story: Story, model: ModelIdentity, over: Settings) -> RenderPlan:
    """Lay a story out as `artv story` would: the same references, anchors and seeds."""
    board = Storyboard(
        segments=tuple(
            Segment(prompt=prompt, frames=frames, anchor=story.anchor)
            for prompt, frames in story.segments
        ),
        image=None if story.image is None else _GIVEN,
    )
    settings = over.model_copy(update={"seed": story.seed})
    return make_plan(board, model, {_GIVEN: story.digest}, over=settings)


def tell(
    story: Story, plan: RenderPlan, engine: Engine, watch: Watch | None = None
) -> Iterator[Pixels]:
    """Yield the frames of a story, each made when it is asked for (Sec. 3.1).

    `watch` hears the masks of all but the key frame, which has nothing to copy.
    """
    latents: dict[str, Latents] = {}
    for target in plan.targets:
        if story.image is not None and target.role == "image":
            made = engine.encode(story.image)
        elif target.references is None or target.anchor is None:
            assert target.request is not None
            made = engine.key_frame(target.request)
        else:
            assert target.request is not None
            previous, earlier = (latents[key] for key in target.references)
            anchor = latents[target.anchor]
            made = engine.next_frame(target.request, (previous, earlier), anchor, watch)
        latents[target.key] = made
        yield engine.decode(made)


def to_pixels(frame: Tensor) -> Pixels:
    """Return a frame (3, h, w) in [-1, 1] as uint8 (h, w, 3)."""
    values = ((frame + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0)
    pixels: Pixels = values.numpy().astype(np.uint8)
    return pixels
