"""A storyboard becomes a film: storyboard -> plan -> render -> video -> report.

Silent: whatever there is to say goes to an Observer. Torch-free until a frame must be drawn (or a
strict cache asks for this machine's environment), so a film whose frames are all cached, and every
export, runs without a model in memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from artv_cli.cache.store import FrameStore
from artv_cli.chronicler import Chronicler
from artv_cli.errors import ArtvError, model_named_at
from artv_cli.export import Output, check_output, make_recipe, write_film
from artv_cli.history import remember
from artv_cli.image_paths import read_images
from artv_cli.images import InputImage, to_pixels
from artv_cli.inventory import make_room
from artv_cli.key_frames import KeyFrameModel, find_key_frame_models
from artv_cli.latents import Pixels
from artv_cli.loading import Loaders, loaders, open_environment
from artv_cli.masks import MaskAlbum
from artv_cli.model.folder import ModelFolder, find_model
from artv_cli.observer import Observer, Several, Work
from artv_cli.plan import FramePlan, ModelIdentity, RenderPlan, make_plan
from artv_cli.recipe import Precedent, Recipe
from artv_cli.render import missing, render
from artv_cli.settings import Settings, merge
from artv_cli.storyboard import Storyboard
from artv_cli.storybook.vocabulary import lost_words, read_vocabulary
from artv_cli.timings import record_timings

DEFAULT_MODEL = "storybook"
CACHE_FOLDER = ".artv"


@dataclass(frozen=True, kw_only=True)
class StoryRequest:
    """A storyboard, and what was said about it elsewhere.

    `over` (flags) wins over the storyboard, `under` (environment, files) fills what it leaves
    open. `home` is the folder whose `.artv` keeps the frames, unless a setting names a cache;
    `precedent` says how the film was made before, if it was.
    """

    storyboard: Storyboard
    home: Path
    over: Settings = field(default_factory=Settings)
    under: Settings = field(default_factory=Settings)
    precedent: Precedent | None = None

    @property
    def settings(self) -> Settings:
        """What is in force for the film as a whole; the model's own defaults are left open."""
        return merge(self.over, self.storyboard.settings, self.under)

    @property
    def cache(self) -> Path:
        """The folder that keeps the frames."""
        return self.settings.cache or self.home / CACHE_FOLDER


@dataclass(frozen=True)
class Story:
    """A request with all that its plan rests on: the model, the images' bytes, every key.

    `key_frames` are the text-to-image models that draw key frames, by segment from 0.
    """

    request: StoryRequest
    model: ModelFolder
    images: Mapping[str, InputImage]
    key_frames: Mapping[int, KeyFrameModel]
    plan: RenderPlan

    def picture(self, frame: FramePlan) -> Pixels:
        """Return the picture of a frame that is given, not drawn."""
        assert frame.image is not None
        return to_pixels(self.images[frame.image], self.plan.size)


@dataclass(frozen=True)
class StoryReport:
    """What became of a story: where the film is, what was drawn for it and how long that took.

    `masks` is the folder of the frames' masks, None if nobody asked for them; `seconds` the time of
    the whole work; `seconds_per_frame` the mean over drawn frames, None when there were none;
    `frame_digests` are SHA-256 over each frame's latents and picture.
    """

    output: Path
    masks: Path | None
    frames: int
    rendered: int
    reused: int
    seconds: float
    seconds_per_frame: float | None
    frame_digests: tuple[str, ...]


def open_story(request: StoryRequest, observer: Observer) -> Story:
    """Find the models, read the images, lay out every frame; nothing is drawn.

    Raises ModelError, ImageError for all images together, and UsageError: what is wrong with a
    request shows here, before the first second of work.
    """
    storyboard = request.storyboard
    model = _find_model(request)
    if request.precedent is not None:
        model = request.precedent.followed_by(model)
    key_frames = find_key_frame_models(storyboard, request.over, request.under)
    images = read_images(storyboard)
    plan = make_plan(
        storyboard,
        ModelIdentity.of(model),
        {path: image.digest for path, image in images.items()},
        key_frames=key_frames,
        over=request.over,
        under=request.under,
    )
    pictured = [one.folder.fingerprint for one in key_frames.values()]
    if request.precedent is not None and request.precedent.differs(model.fingerprint, pictured):
        observer.warn(f"{storyboard.name} was made by other weights: its frames will differ")
    if request.over.key_frame is not None and not key_frames:
        observer.warn("--key-frame-model draws nothing: every key frame is a picture that is given")
    if vocabulary := read_vocabulary(model):
        for loss in lost_words((segment.prompt for segment in storyboard.segments), vocabulary):
            observer.warn(f"the {model.name} model {loss}")
    return Story(request, model, images, key_frames, plan)


def _find_model(request: StoryRequest) -> ModelFolder:
    """Return the model; what a storyboard names is relative to it, and a problem has its place."""
    storyboard, settings = request.storyboard, request.settings
    name, revision, variant = settings.model or DEFAULT_MODEL, settings.revision, settings.variant
    if not storyboard.settings.model or request.over.model:
        return find_model(name, revision, variant, Path())
    with model_named_at(storyboard.at("model")):
        return find_model(name, revision, variant, storyboard.folder)


def open_store(request: StoryRequest, observer: Observer, *, renders: bool = False) -> FrameStore:
    """Return the cache; only one that `renders` can be strict, and the observer hears so."""
    if request.settings.strict and not renders:
        observer.warn("strict is not applied: only a render can tell what was drawn elsewhere")
    if not (request.settings.strict and renders):
        return FrameStore(request.cache, warn=observer.warn)
    environment = open_environment(request.settings.device)
    return FrameStore(request.cache, environment=environment, strict=True, warn=observer.warn)


def render_story(request: StoryRequest, output: Output, observer: Observer) -> StoryReport:
    """Draw what is missing, write the film, and tell what was done.

    Every frame is kept as soon as it is made, so whatever ends this early, the same call goes on
    from there. A limit of the cache's size makes room at the cost of other stories, once the film
    is there. Raises any class of `artv_cli.errors`.
    """
    started = time.perf_counter()
    story = open_story(request, observer)
    check_output(output, request.storyboard, story.plan, request.cache)
    store = open_store(request, observer, renders=True)
    masks = None if output.masks is None else MaskAlbum(story.plan, output.masks)
    with store.lock():
        weights, variant = str(story.model.path.absolute()), request.settings.variant
        tell = partial(remember, store.root, request.storyboard, story.plan, weights, variant)
        observer = Several(Chronicler(tell), observer)
        observer.planned(_work(story, missing(story.plan, store), masks))
        pictured = [one.folder for one in story.key_frames.values()]
        load = loaders(story.model, pictured, story.plan, request.settings, observer)
        report = _make_film(story, store, load, output, observer, started, masks)
        ours = frozenset(target.key for target in story.plan.targets)
        make_room(store, request.settings.max_cache_size, ours, observer)
    return report


def export_story(request: StoryRequest, output: Output, observer: Observer) -> StoryReport:
    """Write the film from the cache alone, which others may render into or read meanwhile.

    ArtvError says which frames are not there, CacheLocked that they are being removed.
    """
    started = time.perf_counter()
    story = open_story(request, observer)
    check_output(output, request.storyboard, story.plan, request.cache)
    store = open_store(request, observer)
    with store.reading():
        lacking = missing(story.plan, store)

        def refuse(*model: str) -> Any:
            raise _absent(story, store, lacking)

        if lacking:
            refuse()
        observer.planned(_work(story, lacking))
        return _make_film(story, store, Loaders(refuse, refuse), output, observer, started)


def _work(story: Story, lacking: tuple[FramePlan, ...], masks: MaskAlbum | None = None) -> Work:
    storyboard = story.request.storyboard
    prompts = tuple(segment.prompt for segment in storyboard.segments)
    drawn = {target.key for target in lacking}
    masked = () if masks is None else masks.targets
    again = tuple(target for target in masked if target.key not in drawn)
    return Work(storyboard.name, prompts, story.plan, lacking, again)


def _absent(story: Story, store: FrameStore, lacking: Sequence[FramePlan]) -> ArtvError:
    """Return the sentence for frames that an export would need."""
    which = f"the first is {lacking[0].name}" if lacking else "one was damaged"
    return ArtvError(
        f"{store.root} does not hold all frames of {story.request.storyboard.name}: {which}.",
        "Run `artv story` with the same storyboard and flags first, or name another cache with"
        " --cache.",
    )


def _make_film(
    story: Story,
    store: FrameStore,
    load: Loaders,
    output: Output,
    observer: Observer,
    started: float,
    masks: MaskAlbum | None = None,
) -> StoryReport:
    """Draw, then write the film from frames read back once more: a film is a pure export."""
    digests, drawn = _draw(story, store, load, observer, masks)
    observer.encoding(output.path)
    frames = render(story.plan, store, load.engine, story.picture, load.picture_engine)
    write_film(
        (frame.entry.pixels() for frame in frames),
        output,
        storyboard=story.request.storyboard,
        plan=story.plan,
        recipe=_recipe(story, output, digests),
    )
    if masks is not None:
        masks.write()
    return StoryReport(
        output=output.path,
        masks=output.masks,
        frames=len(digests),
        rendered=len(drawn),
        reused=len(digests) - len(drawn),
        seconds=time.perf_counter() - started,
        seconds_per_frame=sum(drawn) / len(drawn) if drawn else None,
        frame_digests=tuple(digests),
    )


def _draw(
    story: Story, store: FrameStore, load: Loaders, observer: Observer, masks: MaskAlbum | None
) -> tuple[list[str], list[float]]:
    """Run the loop; return every frame's digest, and the seconds of those that were made."""
    digests: list[str] = []
    drawn: list[tuple[FramePlan, float, int]] = []
    try:
        plan, picture_engine = story.plan, load.picture_engine
        for frame in render(plan, store, load.engine, story.picture, picture_engine, masks):
            digests.append(frame.entry.digest)
            if not frame.reused:
                size = len(frame.entry.latents.data) + len(frame.entry.png)
                drawn.append((frame.plan, frame.seconds, size))
            if masks is not None:
                masks.add(frame.plan, frame.entry, frame.again)
            observer.frame(frame)
    finally:
        record_timings(store.root, drawn)
    for difference, count in store.foreign.items():
        observer.warn(f"{count} frames were drawn elsewhere ({difference}); --strict redraws them")
    if masks is not None and masks.different:
        told = "came out otherwise when drawn again: their masks are not quite those of the film"
        observer.warn(f"{masks.different} cached frames {told}")
    return digests, [seconds for _, seconds, _ in drawn]


def _recipe(story: Story, output: Output, digests: list[str]) -> Recipe:
    request = story.request
    return make_recipe(
        request.storyboard,
        request.over,
        request.under,
        plan=story.plan,
        model=story.model,
        key_frames=story.key_frames,
        digests=digests,
        folder=output.path.parent,
    )
