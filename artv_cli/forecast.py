"""What a render would do, told beforehand: what is reused, what is drawn, how long, how large."""

from __future__ import annotations

import shutil
import statistics
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from artv_cli.cache.store import FrameStore
from artv_cli.history import Comparison, Explanation, PastStory, recall
from artv_cli.plan import FramePlan, RenderPlan
from artv_cli.render import Lack, lacks
from artv_cli.story import Story
from artv_cli.timings import expected_bytes, expected_seconds

_PNG_SHARE = 0.5  # of the raw picture's bytes, where no frame shows how well they pack


@dataclass(frozen=True)
class SegmentForecast:
    """One segment, and what is to be drawn of it.

    `frames`, `cached`, `to_render` are numbers of frames; the others count from 1. `first_change`
    is the first frame to draw. `changed` names the parts of the key that differ from the last
    render, `cause` the frame that they belong to: this one, or one that it is made from. Without a
    cause nothing changed: the frame was not drawn yet, or is in the cache no more, or is there and
    made from what came out otherwise since, which `outdated_by` names.
    """

    segment: int
    prompt: str
    frames: int
    cached: int
    to_render: int
    first_change: int | None = None
    cause: int | None = None
    changed: tuple[str, ...] = ()
    outdated_by: str | None = None


@dataclass(frozen=True)
class Estimate:
    """`seconds` to draw the frames that are missing, besides pictures of text-to-image models, and
    None where nothing like them was ever timed here; `bytes` that the cache will grow by;
    `free_bytes` on its disk."""

    seconds: float | None
    bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Forecast:
    """What `artv story` would do now; `first_change` is the first frame to draw, from 1.

    `pictures` are those that a text-to-image model draws for key frames, `anchor_images` those to
    encode: they take a model, but the film does not show them.
    """

    frames: int
    cached: int
    to_render: int
    first_change: int | None
    pictures: int
    anchor_images: int
    segments: tuple[SegmentForecast, ...]
    estimate: Estimate


def forecast(story: Story, store: FrameStore) -> Forecast:
    """Compare a story's plan with the cache, by the entries' headers alone."""
    plan = story.plan
    missed = lacks(plan, store)
    targets = tuple(lack.target for lack in missed.values())
    lacking = [target for target in targets if target.is_shown]
    pictures = sum(target.role == "picture" for target in targets)
    return Forecast(
        frames=len(plan.frames),
        cached=len(plan.frames) - len(lacking),
        to_render=len(lacking),
        first_change=lacking[0].index + 1 if lacking else None,
        pictures=pictures,
        anchor_images=len(targets) - len(lacking) - pictures,
        segments=_segments(story, missed, recall(store.root, story.request.storyboard)),
        estimate=_estimate(story, store, targets),
    )


def outdated_by(plan: RenderPlan, missed: Mapping[str, Lack], key: str) -> str | None:
    """Name what the entry of `key` was made from and what came out otherwise since, if there is."""
    origin = missed[key].origin if key in missed else None
    if origin is None:
        return None
    return next((target.name for target in plan.targets if target.key == origin), None)


def _segments(
    story: Story, missed: Mapping[str, Lack], past: PastStory | None
) -> tuple[SegmentForecast, ...]:
    lacking = [lack.target for lack in missed.values() if lack.target.is_shown]
    absent = Counter(frame.segment for frame in lacking)
    first = {frame.segment: frame for frame in reversed(lacking)}
    compared = Comparison(story.plan, past) if past else None
    why = {number: _why(compared, frame.index + 1) for number, frame in first.items()}
    outdated = {n: outdated_by(story.plan, missed, frame.key) for n, frame in first.items()}
    return tuple(
        SegmentForecast(
            segment=number + 1,
            prompt=segment.prompt,
            frames=segment.frames,
            cached=segment.frames - absent[number],
            to_render=absent[number],
            first_change=first[number].index + 1 if number in first else None,
            cause=why[number].cause if number in why else None,
            changed=tuple(c.part for c in why[number].changes) if number in why else (),
            outdated_by=outdated.get(number),
        )
        for number, segment in enumerate(story.request.storyboard.segments)
    )


def _why(compared: Comparison | None, frame: int) -> Explanation:
    return compared.explain(frame) if compared else Explanation(frame, None, ())


def _estimate(story: Story, store: FrameStore, lacking: tuple[FramePlan, ...]) -> Estimate:
    return Estimate(
        seconds=expected_seconds(store.root, lacking),
        bytes=len(lacking) * _entry_size(story, store),
        free_bytes=_free_bytes(store.root),
    )


def _entry_size(story: Story, store: FrameStore) -> int:
    """Return the bytes that a frame of this film takes in the cache.

    The mean of those that are there; else what such frames took here before; else a guess.
    """
    sizes = []
    for frame in story.plan.frames:
        with suppress(OSError):  # not there, or gone meanwhile
            sizes.append(store.path(frame.key).stat().st_size)
    if sizes:
        return round(statistics.mean(sizes))
    measured = expected_bytes(store.root, story.plan.frames[-1])
    if measured is not None:
        return measured
    plan = story.plan
    width, height = plan.size
    png = round(width * height * 3 * _PNG_SHARE)
    return story.model.latent_bytes(plan.size, plan.dtype) + png


def _free_bytes(folder: Path) -> int:
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(there).free
