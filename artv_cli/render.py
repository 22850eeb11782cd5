"""The autoregressive loop: `y_i = Φ(text, {y_{i-1}, y_{i-2}, y_anchor})` (Sec. 3.1), over a cache.

What the cache has is read back, what it lacks is made, and either way the next frame is
conditioned on exactly what the cache now holds. So a story rendered in one go and a story killed
and resumed a hundred times are the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from artv_cli.cache.entry import Entry, is_finite
from artv_cli.cache.store import FrameStore
from artv_cli.engine import Engine
from artv_cli.errors import ModelError, RenderError
from artv_cli.latents import Latents, Pixels
from artv_cli.plan import FramePlan, RenderPlan


@dataclass(frozen=True)
class Frame:
    """One frame of the video: what it was to be, what it is, and what it took to get it.

    `seconds` is the time to read it back where `reused`, else the time to make and keep it;
    what it took to build the engine is not in it.
    """

    plan: FramePlan
    entry: Entry
    reused: bool
    seconds: float


def render(
    plan: RenderPlan,
    store: FrameStore,
    engine: Callable[[], Engine],
    images: Callable[[FramePlan], Pixels],
) -> Iterator[Frame]:
    """Yield the frames of a video in its order, making those that the store lacks.

    `engine` is called once, at the first frame that must be made; `images` returns the picture of
    a target whose role is "image", cut to the plan's size. Every frame is in the store when it is
    yielded. Raises RenderError for values that are no picture, ModelError if the engine's weights
    are not those of the plan, StorageError if a frame cannot be kept.
    """
    studio = _Studio(plan, store, engine, images)
    last_use = {key: i for i, target in enumerate(plan.targets) for key in target.parents}
    entries: dict[str, Entry] = {}
    for position, target in enumerate(plan.targets):
        started = time.perf_counter()
        parents = {key: entries[key].digest for key in target.parents}
        found = store.get(target.key, parents)
        if found is None:
            studio.open()
            started = time.perf_counter()
        entry = found or store.put(target.key, *studio.make(target, entries), parents)
        entries[target.key] = entry
        entries = {key: kept for key, kept in entries.items() if last_use.get(key, -1) > position}
        if target.is_shown:
            yield Frame(target, entry, found is not None, time.perf_counter() - started)


def missing(plan: RenderPlan, store: FrameStore) -> tuple[FramePlan, ...]:
    """Return the targets that `render` would make, in order, judging entries by their headers.

    A frame that must be made again from the frames that it was made from is expected to come out
    as it was, which the same environment promises; what was made from it then stays good.
    """
    here: dict[str, str] = {}  # digests of the entries that are good
    told: dict[str, str] = {}  # the same, and what those remember of their parents
    changed: set[str] = set()  # keys whose entries will come out otherwise than they were
    lacking: dict[str, FramePlan] = {}
    for target in plan.targets:
        header = store.peek(target.key)
        parents: Mapping[str, str] = {} if header is None else header.parents
        if changed.intersection(target.parents) or _disagree(parents, here):
            changed.add(target.key)
        if header is None or target.key in changed or _disagree(parents, told):
            lacking.setdefault(target.key, target)
        else:
            here[target.key] = header.digest
            told |= {**parents, target.key: header.digest}
    return tuple(lacking.values())


def _disagree(parents: Mapping[str, str], digests: Mapping[str, str]) -> bool:
    return any(digests.get(key, digest) != digest for key, digest in parents.items())


class _Studio:
    """Makes frames, with an engine that is built when the first one is asked for."""

    def __init__(
        self,
        plan: RenderPlan,
        store: FrameStore,
        engine: Callable[[], Engine],
        images: Callable[[FramePlan], Pixels],
    ) -> None:
        self._plan = plan
        self._store = store
        self._build = engine
        self._images = images
        self._engine: Engine | None = None

    def open(self) -> None:
        """Build the engine, unless it is there, after a look whether its frames can be kept."""
        if self._engine is not None:
            return
        self._store.prepare()
        engine = self._build()
        if engine.fingerprint != self._plan.fingerprint:
            raise ModelError(
                "the model's weights are not those that the plan was made for",
                "They changed meanwhile: run the same command again.",
            )
        if self._store.environment is None:
            self._store.environment = dict(engine.environment)
        self._engine = engine

    def make(self, target: FramePlan, entries: dict[str, Entry]) -> tuple[Latents, Pixels]:
        """Return a frame's latents and its picture, both checked."""
        engine = self._engine
        assert engine is not None, "open() comes first"
        latents = self._latents(engine, target, entries)
        if not is_finite(latents):
            raise RenderError(
                f"{target.name} came out of the model with values that are no numbers",
                "Render with --dtype float32, or with smaller guidance scales.",
            )
        pixels = engine.decode(latents)
        width, height = self._plan.size
        if pixels.shape != (height, width, 3):
            raise RenderError(
                f"{target.name} came out of the model with shape {pixels.shape}, not"
                f" {width}x{height} pixels",
                "Render at the model's own size: leave `size` out.",
            )
        return latents, pixels

    def _latents(self, engine: Engine, target: FramePlan, entries: dict[str, Entry]) -> Latents:
        if target.request is None:
            return engine.encode(self._images(target))
        if target.references is None or target.anchor is None:
            return engine.key_frame(target.request)
        previous, before = (entries[key].latents for key in target.references)
        return engine.next_frame(target.request, (previous, before), entries[target.anchor].latents)
