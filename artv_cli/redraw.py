"""Frames of the cache drawn once more, to see whether they come out as the same bits.

What a frame is made from stands in the history of its story, so neither storyboard nor flags are
needed: only the model, and the frames that it is conditioned on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Any

from artv_cli.cache.entry import BadEntry, Entry, entry_at, make_entry
from artv_cli.cache.store import FrameStore
from artv_cli.engine import Engine
from artv_cli.errors import ModelError
from artv_cli.history import PastStory, past_stories
from artv_cli.keys import request_of


@dataclass(frozen=True)
class DrawnFrame:
    """A frame of the cache that can be drawn again: `number` counts within its story from 1."""

    story: str
    number: int
    key: str
    made_of: Mapping[str, Any]
    model: str
    variant: str | None


@dataclass(frozen=True)
class Redrawing:
    """What became of the frames that were drawn again.

    `same` and `different` are told as "story.yaml: frame 3"; `foreign` counts those that another
    environment had drawn, other weights, ones that are gone, and those made from a frame that came
    out otherwise since: they promise nothing here.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    foreign: int


Open = Callable[[str, str | None, str], Engine]  # (model folder, variant, dtype) -> its engine


def redraw(store: FrameStore, count: int, open_engine: Open, random: Random) -> Redrawing:
    """Draw `count` random frames of the cache again, or all that can be, and compare their bits.

    Frames are taken from `random` until so many could be compared. Nothing is written.
    """
    frames = list(drawn_frames(store))
    random.shuffle(frames)
    same: list[str] = []
    different: list[str] = []
    foreign, share = 0, count
    while frames and len(same) + len(different) < count:
        chosen, frames = frames[:share], frames[share:]
        share *= 4  # lest models be loaded time and again where most frames are foreign
        for frame, is_same in _redrawn(store, chosen, open_engine):
            if is_same is None:
                foreign += 1
            else:
                (same if is_same else different).append(f"{frame.story}: frame {frame.number}")
            if len(same) + len(different) == count:
                break
    return Redrawing(tuple(same), tuple(different), foreign)


def _redrawn(
    store: FrameStore, frames: Iterable[DrawnFrame], open_engine: Open
) -> Iterator[tuple[DrawnFrame, bool | None]]:
    """Yield for each frame whether it is the same, model by model: one is in memory at a time."""
    for which, alike in groupby(sorted(frames, key=_engine_of), _engine_of):
        engine = _opened(open_engine, *which)
        for frame in alike:
            yield frame, None if engine is None else _is_same(store, frame, engine)
        engine = None


def _engine_of(frame: DrawnFrame) -> tuple[str, str, str]:
    return frame.model, frame.variant or "", str(frame.made_of["dtype"])


def drawn_frames(store: FrameStore) -> Iterator[DrawnFrame]:
    """Yield each frame that a remembered story has in the cache and that a network drew."""
    seen: set[str] = set()
    for past in past_stories(store.root):
        for number, (key, made_of) in enumerate(zip(past.keys, past.ingredients, strict=True), 1):
            if key not in seen and _can_be_drawn(store, past, key, made_of):
                seen.add(key)
                yield DrawnFrame(past.name, number, key, made_of, str(past.model), past.variant)


def _can_be_drawn(store: FrameStore, past: PastStory, key: str, made_of: Mapping[str, Any]) -> bool:
    keys = (key, *_parents(made_of))
    return (
        past.model is not None
        and made_of.get("role") in ("key", "next")
        and "dtype" in made_of
        and all(store.path(needed).exists() for needed in keys)
    )


def _parents(made_of: Mapping[str, Any]) -> tuple[str, ...]:
    return (*made_of["references"], made_of["anchor"]) if made_of["role"] == "next" else ()


def _opened(open_engine: Open, model: str, variant: str, dtype: str) -> Engine | None:
    try:
        return open_engine(model, variant or None, dtype)
    except ModelError:
        return None


def _is_same(store: FrameStore, frame: DrawnFrame, engine: Engine) -> bool | None:
    """Draw a frame and compare it; None where it cannot be expected to be the same."""
    try:
        stored, *parents = (
            entry_at(store.path(key), store.root) for key in (frame.key, *_parents(frame.made_of))
        )
    except (BadEntry, OSError):  # pruned meanwhile; damage is told by who reads them all
        return None
    if stored.parents != {parent.key: parent.digest for parent in parents}:
        return None  # one of them came out otherwise since
    if engine.fingerprint != frame.made_of["model"] or engine.environment != stored.environment:
        return None
    return _draw(engine, frame, parents).digest == stored.digest


def _draw(engine: Engine, frame: DrawnFrame, parents: list[Entry]) -> Entry:
    request = request_of(frame.made_of)
    if parents:
        previous, before, anchor = (parent.latents for parent in parents)
        latents = engine.next_frame(request, (previous, before), anchor)
    else:
        latents = engine.key_frame(request)
    return make_entry(frame.key, latents, engine.decode(latents), {}, engine.environment)
