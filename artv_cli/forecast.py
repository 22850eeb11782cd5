"""What a render would do, told beforehand: what is reused, what is drawn, how long, how large."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from artv_cli.cache.store import FrameStore
from artv_cli.plan import FramePlan
from artv_cli.render import missing
from artv_cli.story import Story
from artv_cli.timings import expected_seconds

_PNG_SHARE = 0.5  # of the raw picture's bytes, where no cached frame shows how well it packs


@dataclass(frozen=True)
class SegmentForecast:
    """One segment: `segment` counts from 1, the other numbers are numbers of frames."""

    segment: int
    prompt: str
    frames: int
    cached: int
    to_render: int


@dataclass(frozen=True)
class Estimate:
    """`seconds` to draw what is missing, None where nothing like it was ever timed here; `bytes`
    that the cache will grow by; `free_bytes` on its disk."""

    seconds: float | None
    bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Forecast:
    """What `artv story` would do now; `first_change` is the first frame to draw, from 1.

    `anchor_images` are those to encode: they take a model, but the film does not show them.
    """

    frames: int
    cached: int
    to_render: int
    first_change: int | None
    anchor_images: int
    segments: tuple[SegmentForecast, ...]
    estimate: Estimate


def forecast(story: Story, store: FrameStore) -> Forecast:
    """Compare a story's plan with the cache, by the entries' headers alone."""
    plan = story.plan
    targets = missing(plan, store)
    lacking = [target for target in targets if target.is_shown]
    absent = Counter(frame.segment for frame in lacking)
    segments = tuple(
        SegmentForecast(
            segment=number + 1,
            prompt=segment.prompt,
            frames=segment.frames,
            cached=segment.frames - absent[number],
            to_render=absent[number],
        )
        for number, segment in enumerate(story.request.storyboard.segments)
    )
    return Forecast(
        frames=len(plan.frames),
        cached=len(plan.frames) - len(lacking),
        to_render=len(lacking),
        first_change=lacking[0].index + 1 if lacking else None,
        anchor_images=len(targets) - len(lacking),
        segments=segments,
        estimate=_estimate(story, store, targets),
    )


def _estimate(story: Story, store: FrameStore, lacking: tuple[FramePlan, ...]) -> Estimate:
    return Estimate(
        seconds=expected_seconds(store.root, lacking),
        bytes=len(lacking) * _entry_size(story, store),
        free_bytes=_free_bytes(store.root),
    )


def _entry_size(story: Story, store: FrameStore) -> int:
    """Return the bytes of a cached frame of this film, or a guess where there is none yet."""
    for frame in story.plan.frames:
        path = store.path(frame.key)
        if path.exists():
            return path.stat().st_size
    width, height = story.plan.size
    return story.model.latent_bytes((width, height)) + round(width * height * 3 * _PNG_SHARE)


def _free_bytes(folder: Path) -> int:
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(there).free
