"""A storyboard becomes a plan: every frame with its role, what it is made from, and its key.

A frame is a target as in `make`; its key (`artv_cli.keys`) digests everything that decides its
bits, the keys of the frames that it is conditioned on among it. So an edit changes the keys of
what it touches and of what is made from that, and of nothing else: up to the next cut, and behind
it where an anchor reaches back. Nothing here reads a file, and nothing runs a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from artv_cli.engine import FrameRequest, PictureRequest
from artv_cli.errors import UsageError
from artv_cli.key_frames import KeyFrameModel, given_image, opens_chain
from artv_cli.keys import (
    Ingredients,
    Role,
    frame_seed,
    ground_ingredients,
    image_ingredients,
    key_frame_ingredients,
    key_of,
    next_frame_ingredients,
    painted_ingredients,
    picture_ingredients,
)
from artv_cli.latents import Dtype
from artv_cli.model.folder import ModelFolder
from artv_cli.settings import Sampling, Settings, merge, sampling
from artv_cli.storyboard import FrameAnchor, Segment, Storyboard
from artv_cli.storyboard_form import DEFAULT_FPS

DEFAULT_SEED = 0


@dataclass(frozen=True)
class ModelIdentity:
    """What a plan needs to know of a model: which one it is, and what it does when not told.

    `fingerprint` digests weights and configs; `size` is (width, height) in pixels, each a
    multiple of `size_multiple`; `sampling` is for all frames but key frames.
    """

    fingerprint: str
    size: tuple[int, int]
    size_multiple: int
    sampling: Sampling
    key_sampling: Sampling
    dtype: Dtype

    @classmethod
    def of(cls, model: ModelFolder) -> ModelIdentity:
        """Return the identity of a model folder, with the defaults that it prefers."""
        liked = model.preferences
        return cls(
            fingerprint=model.fingerprint,
            size=liked.size,
            size_multiple=model.size_multiple,
            sampling=liked.sampling,
            key_sampling=liked.key_sampling,
            dtype=liked.dtype,
        )


@dataclass(frozen=True)
class FramePlan:
    """One target: what the frame is made from, and the key under which the cache holds it.

    `index` counts the video's frames from 0 and is -1 for what is made but not shown: the image of
    an anchor, the picture of a key frame. `segment` counts from 0; `chain_index` counts from the
    last cut, 0 being the key frame. `references` are the keys of y_{i-1} and y_{i-2}, `anchor` is
    a key as well, and so is `picture`, from which a painted frame is encoded. `request` is for
    what our networks draw, `drawing` for the picture of a text-to-image model, `image` is the path
    of a given one as the storyboard has it.
    """

    index: int
    segment: int
    role: Role
    chain_index: int
    key: str
    ingredients: Ingredients = field(repr=False, compare=False)
    request: FrameRequest | None = None
    image: str | None = None
    drawing: PictureRequest | None = None
    picture: str | None = None
    references: tuple[str, str] | None = None
    anchor: str | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the film shows this frame, as it shows all but those of index -1."""
        return self.index >= 0

    @property
    def name(self) -> str:
        """What messages call this frame; people count from 1."""
        if self.drawing is not None:
            return f"the picture for segment {self.segment + 1}"
        if not self.is_shown:
            return f"the anchor image of segment {self.segment + 1}"
        return f"frame {self.index + 1} (segment {self.segment + 1})"

    @property
    def parents(self) -> tuple[str, ...]:
        """The keys of what this frame is made from, each once."""
        made_from = (*(self.references or ()), self.anchor, self.picture)
        return tuple(dict.fromkeys(key for key in made_from if key is not None))


@dataclass(frozen=True)
class RenderPlan:
    """Every target of a storyboard, in an order in which each comes after what it is made from.

    Pictures of text-to-image models come first, those of one model together: so each of them, and
    then the video's model, is loaded once, and no two are in memory at a time.
    `size` is (width, height) in pixels; `fingerprint` and `dtype` say which model the keys mean.
    """

    targets: tuple[FramePlan, ...]
    size: tuple[int, int]
    fps: Fraction
    fingerprint: str
    dtype: Dtype

    @cached_property
    def frames(self) -> tuple[FramePlan, ...]:
        """The targets that the video shows, in its order."""
        return tuple(target for target in self.targets if target.is_shown)


def make_plan(
    storyboard: Storyboard,
    model: ModelIdentity,
    images: Mapping[str, str],
    *,
    key_frames: Mapping[int, KeyFrameModel] | None = None,
    over: Settings | None = None,
    under: Settings | None = None,
) -> RenderPlan:
    """Lay out every frame of a storyboard, with its key.

    `images` maps each image path of the storyboard to the digest of the bytes that will be used,
    `key_frames` segments, from 0, to the text-to-image model that draws their key frame.
    `over` (flags) wins over segment and storyboard, `under` (environment, files) fills what they
    leave open, and the model's own values the rest. Raises UsageError for a size that the model
    cannot make and for an anchor frame that does not exist yet.
    """
    over, under = over or Settings(), under or Settings()
    film = merge(over, storyboard.settings, under)
    is_theirs = storyboard.settings.size is not None and over.size is None
    size = _film_size(film, model, storyboard.at("size") if is_theirs else "")
    dtype = film.dtype or model.dtype
    layout = _Layout(ground_ingredients(model.fingerprint, size, dtype), images)
    for number, segment in enumerate(storyboard.segments):
        settings = merge(over, segment.settings, storyboard.settings, under)
        request = FrameRequest(segment.prompt, 0, size, sampling(settings, model.sampling))
        layout.add_segment(
            segment,
            seed=DEFAULT_SEED if settings.seed is None else settings.seed,
            request=request,
            key_request=replace(request, sampling=sampling(settings, model.key_sampling)),
            image=given_image(storyboard, number),
            model=(key_frames or {}).get(number),
        )
    fps = DEFAULT_FPS if film.fps is None else film.fps
    return RenderPlan(layout.in_order(), size, fps, model.fingerprint, dtype)


def _film_size(settings: Settings, model: ModelIdentity, place: str) -> tuple[int, int]:
    (width, height), step = settings.size or model.size, model.size_multiple
    if width % step == height % step == 0:
        return width, height
    below, above = (
        "x".join(str(max(step, (side + extra) // step * step)) for side in (width, height))
        for extra in (0, step - 1)
    )
    raise UsageError(
        f"{place}size: {width}x{height} does not suit the model, whose frames are multiples of"
        f" {step} pixels wide and high",
        f"Use {below} or {above}." if below != above else f"Use {below}.",
    )


class _Layout:
    """The targets laid out so far; it grows by one segment at a time."""

    def __init__(self, ground: Ingredients, images: Mapping[str, str]) -> None:
        self._targets: list[FramePlan] = []
        self._keys: set[str] = set()  # of the targets
        self._pictures: dict[str, dict[str, FramePlan]] = {}  # by model, then by key
        self._ground, self._images = ground, images
        self._shown: list[FramePlan] = []
        self._segment_starts: list[int] = []
        self._chain_start = 0

    def in_order(self) -> tuple[FramePlan, ...]:
        """Return every target: the pictures, model by model, and all else in the film's order."""
        return (*(p for drawn in self._pictures.values() for p in drawn.values()), *self._targets)

    def add_segment(
        self,
        segment: Segment,
        *,
        seed: int,
        request: FrameRequest,
        key_request: FrameRequest,
        image: str | None,
        model: KeyFrameModel | None,
    ) -> None:
        """Add a segment's frames; the requests lack nothing but the seed of each frame."""
        start = len(self._shown)
        self._segment_starts.append(start)
        is_opening = opens_chain(len(self._segment_starts) - 1, segment)
        if is_opening:
            self._chain_start = start
            self._add_key_frame(replace(key_request, seed=frame_seed(seed, 0)), image, model)
        rest = range(len(self._shown), start + segment.frames)
        anchor = self._anchor(segment, is_opening) if rest else ""
        for index in rest:
            noise = frame_seed(seed, index - self._chain_start)
            self._add_next_frame(replace(request, seed=noise), anchor)

    def _add_key_frame(
        self, request: FrameRequest, image: str | None, model: KeyFrameModel | None
    ) -> None:
        if image is not None:
            self._add("image", image_ingredients(self._ground, self._images[image]), image=image)
        elif model is not None:
            self._add_painted(model.request(request, self._ground["dtype"]))
        else:
            self._add("key", key_frame_ingredients(self._ground, request), request=request)

    def _add_painted(self, drawing: PictureRequest) -> None:
        made_of = picture_ingredients(drawing)
        key, segment = key_of(made_of), len(self._segment_starts) - 1
        picture = FramePlan(-1, segment, "picture", 0, key, made_of, drawing=drawing)
        self._pictures.setdefault(drawing.model, {}).setdefault(key, picture)
        self._add("painted", painted_ingredients(self._ground, drawing), picture=key)

    def _add_next_frame(self, request: FrameRequest, anchor: str) -> None:
        # Until two frames exist, the key frame stands in for the missing one (Sec. 3.1).
        before = max(self._chain_start, len(self._shown) - 2)
        references = self._shown[-1].key, self._shown[before].key
        ingredients = next_frame_ingredients(self._ground, request, references, anchor)
        self._add("next", ingredients, request=request, references=references, anchor=anchor)

    def _anchor(self, segment: Segment, is_opening: bool) -> str:
        """Return the key of a segment's anchor frame, after App. D where the segment names none."""
        choice = segment.anchor or ("key" if is_opening else "previous")
        start = self._segment_starts[-1]
        if isinstance(choice, FrameAnchor):
            return self._frame_anchor(choice)
        if choice == "first":
            return self._shown[0].key
        if choice == "previous" and start > 0:
            return self._shown[start - 1].key
        if choice in ("key", "previous"):
            return self._shown[self._chain_start].key
        return self._image_anchor(choice)

    def _frame_anchor(self, choice: FrameAnchor) -> str:
        if choice.segment <= len(self._segment_starts):
            index = self._segment_starts[choice.segment - 1] + choice.frame - 1
            if index < len(self._shown) and self._shown[index].segment == choice.segment - 1:
                return self._shown[index].key
        raise UsageError(
            f"segment {len(self._segment_starts)}: its anchor, frame {choice.frame} of segment"
            f" {choice.segment}, does not exist when the segment begins",
            "Name a frame of an earlier segment, or `anchor: previous`.",
        )

    def _image_anchor(self, path: str) -> str:
        ingredients = image_ingredients(self._ground, self._images[path])
        key = key_of(ingredients)
        if key not in self._keys:
            self._add("image", ingredients, image=path, shown=False)
        return key

    def _add(
        self, role: Role, ingredients: Ingredients, *, shown: bool = True, **made_from: Any
    ) -> None:
        target = FramePlan(
            index=len(self._shown) if shown else -1,
            segment=len(self._segment_starts) - 1,
            role=role,
            chain_index=len(self._shown) - self._chain_start if shown else 0,
            key=key_of(ingredients),
            ingredients=ingredients,
            **made_from,
        )
        self._targets.append(target)
        self._keys.add(target.key)
        if shown:
            self._shown.append(target)
