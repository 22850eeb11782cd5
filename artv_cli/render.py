"""The autoregressive loop: `y_i = Φ(text, {y_{i-1}, y_{i-2}, y_anchor})` (Sec. 3.1), over a cache.

What the cache has is read back, what it lacks is made, and either way the next frame is
conditioned on exactly what the cache now holds. So a story rendered in one go and a story killed
and resumed a hundred times are the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from artv_cli.cache.entry import Entry, is_finite, make_entry
from artv_cli.cache.store import FrameStore
from artv_cli.engine import Engine, PictureEngine, Watch
from artv_cli.errors import ModelError, RenderError
from artv_cli.latents import NO_LATENTS, Latents, Pixels
from artv_cli.masks import MaskAlbum
from artv_cli.plan import FramePlan, RenderPlan


@dataclass(frozen=True)
class Frame:
    """One frame of the video: what it was to be, what it is, and what it took to get it.

    `seconds` is the time to read it back where `reused`, else the time to make and keep it;
    what it took to build the engine is not in it. `again` is what a reused frame came out as when
    it was drawn once more for its mask: the same bits, where the same environment drew it.
    """

    plan: FramePlan
    entry: Entry
    reused: bool
    seconds: float
    again: Entry | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether time went into drawing it, be it for its mask alone."""
        return not self.reused or self.again is not None


def no_picture_engine(model: str) -> PictureEngine:
    """Stand for text-to-image models where the plan has no pictures."""
    raise AssertionError(f"nobody said how to load the text-to-image model {model}")


def render(
    plan: RenderPlan,
    store: FrameStore,
    engine: Callable[[], Engine],
    images: Callable[[FramePlan], Pixels],
    picture_engine: Callable[[str], PictureEngine] = no_picture_engine,
    masks: MaskAlbum | None = None,
) -> Iterator[Frame]:
    """Yield the frames of a video in its order, making those that the store lacks.

    `engine` is called once, at the first frame that must be made; `images` returns the picture of
    a target whose role is "image", cut to the plan's size; `picture_engine` is called with the
    fingerprint of each text-to-image model whose pictures must be drawn, and what it returns is
    closed before anything else is loaded, and however the frames end. Every frame is in the store
    when it is yielded. `masks` watches frames being drawn, for which those that the store has are
    drawn again, changing nothing in it. Raises RenderError for values that are no picture,
    ModelError if the weights are not those of the plan, StorageError if a frame cannot be kept.
    """
    studio = _Studio(plan, store, engine, images, picture_engine)
    try:
        yield from _frames(plan, store, studio, masks)
    finally:
        studio.close()


def _frames(
    plan: RenderPlan, store: FrameStore, studio: _Studio, masks: MaskAlbum | None
) -> Iterator[Frame]:
    last_use = {key: i for i, target in enumerate(plan.targets) for key in target.parents}
    entries: dict[str, Entry] = {}
    for position, target in enumerate(plan.targets):
        started = time.perf_counter()
        parents = {key: entries[key].digest for key in target.parents}
        found = store.get(target.key, parents)
        watch = None if masks is None else masks.watch(target)
        again = None
        if found is None or watch is not None:
            studio.open(target, is_kept=found is None)
            started = time.perf_counter()
            made = studio.make(target, entries, watch)
            again = None if found is None else make_entry(target.key, *made, parents, {})
        entry = found or store.put(target.key, *made, parents)
        entries[target.key] = entry
        entries = {key: kept for key, kept in entries.items() if last_use.get(key, -1) > position}
        if target.is_shown:
            seconds = time.perf_counter() - started
            yield Frame(target, entry, found is not None, seconds, again)


@dataclass(frozen=True)
class Lack:
    """A target that `render` would make, because the store has none or because it has another's.

    `origin` is the key of what its entry was made from, directly or not, and that came out
    otherwise since; None where there is no entry.
    """

    target: FramePlan
    origin: str | None


def missing(plan: RenderPlan, store: FrameStore) -> tuple[FramePlan, ...]:
    """Return the targets that `render` would make, in order, judging entries by their headers."""
    return tuple(lack.target for lack in lacks(plan, store).values())


def lacks(plan: RenderPlan, store: FrameStore) -> dict[str, Lack]:
    """Return by key what `render` would make, in order, and why.

    A frame that must be made again from the frames that it was made from is expected to come out
    as it was, which the same environment promises; what was made from it then stays good.
    """
    here: dict[str, str] = {}  # digests of the entries that are good
    told: dict[str, str] = {}  # the same, and what those remember of their parents
    changed: dict[str, str] = {}  # keys whose entries will come out otherwise, with their origins
    lacking: dict[str, Lack] = {}
    for target in plan.targets:
        header = store.peek(target.key)
        parents: Mapping[str, str] = {} if header is None else header.parents
        spoilt = next((changed[key] for key in target.parents if key in changed), None)
        if origin := spoilt or _other(parents, here):
            changed[target.key] = origin
        origin = origin or _other(parents, told)
        if header is None or origin:
            lacking.setdefault(target.key, Lack(target, origin if header else None))
        else:
            here[target.key] = header.digest
            told |= {**parents, target.key: header.digest}
    return lacking


def _other(parents: Mapping[str, str], digests: Mapping[str, str]) -> str | None:
    """Return the first of the parents that has another digest than is remembered of it."""
    return next(
        (key for key, digest in parents.items() if digests.get(key, digest) != digest), None
    )


class _Studio:
    """Makes frames, with engines that are built when they are first needed, one at a time."""

    def __init__(
        self,
        plan: RenderPlan,
        store: FrameStore,
        engine: Callable[[], Engine],
        images: Callable[[FramePlan], Pixels],
        picture_engine: Callable[[str], PictureEngine],
    ) -> None:
        self._plan = plan
        self._store = store
        self._build = engine
        self._images = images
        self._build_pictures = picture_engine
        self._engine: Engine | None = None
        self._pictures: PictureEngine | None = None

    def open(self, target: FramePlan, *, is_kept: bool = True) -> None:
        """Build what draws a target, unless it is there; first see that what `is_kept` can be."""
        if target.drawing is not None:
            self._open_pictures(target.drawing.model)
        elif self._engine is None:
            self.close()
            if is_kept:
                self._store.prepare()
            engine = self._build()
            self._require(engine, self._plan.fingerprint)
            self._engine = engine

    def _open_pictures(self, model: str) -> None:
        if self._pictures is not None and self._pictures.fingerprint == model:
            return
        self.close()
        self._store.prepare()
        self._pictures = self._build_pictures(model)
        self._require(self._pictures, model)

    def _require(self, engine: Engine | PictureEngine, fingerprint: str) -> None:
        if engine.fingerprint != fingerprint:
            raise ModelError(
                "the model's weights are not those that the plan was made for",
                "They changed meanwhile: run the same command again.",
            )
        if self._store.environment is None:
            self._store.environment = dict(engine.environment)

    def close(self) -> None:
        """Let go of the text-to-image model, if there is one: two models may be too many."""
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None

    def make(
        self, target: FramePlan, entries: dict[str, Entry], watch: Watch | None = None
    ) -> tuple[Latents, Pixels]:
        """Return a frame's latents and its picture, both checked; `watch` hears its masks."""
        if target.drawing is not None:
            assert self._pictures is not None, "open() comes first"
            return NO_LATENTS, self._checked(target, self._pictures.picture(target.drawing))
        engine = self._engine
        assert engine is not None, "open() comes first"
        latents = self._latents(engine, target, entries, watch)
        if not is_finite(latents):
            raise RenderError(
                f"{target.name} came out of the model with values that are no numbers",
                "Render with --dtype float32, or with smaller guidance scales.",
            )
        return latents, self._checked(target, engine.decode(latents))

    def _checked(self, target: FramePlan, pixels: Pixels) -> Pixels:
        width, height = self._plan.size
        if pixels.shape != (height, width, 3):
            raise RenderError(
                f"{target.name} came out of the model with shape {pixels.shape}, not"
                f" {width}x{height} pixels",
                "Render at the model's own size: leave `size` out.",
            )
        return pixels

    def _latents(
        self, engine: Engine, target: FramePlan, entries: dict[str, Entry], watch: Watch | None
    ) -> Latents:
        if target.picture is not None:
            return engine.encode(entries[target.picture].pixels())
        if target.request is None:
            return engine.encode(self._images(target))
        if target.references is None or target.anchor is None:
            return engine.key_frame(target.request)
        previous, before = (entries[key].latents for key in target.references)
        anchor = entries[target.anchor].latents
        return engine.next_frame(target.request, (previous, before), anchor, watch)
