"""What was last rendered of each storyboard, so that a plan can say what has changed since.

One JSON file per storyboard or clip in the cache, `stories/<name>-<digest of its place>.json`: for
each frame its key and the ingredients that the key was made from, those that all frames share once.
It explains and lists; nothing that decides what is reused reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artv_cli.errors import ArtvError
from artv_cli.files.output import write_text
from artv_cli.plan import RenderPlan
from artv_cli.storyboard import PIPED, Storyboard

_PARENTS = ("references", "anchor")
_MISSING = "(not there)"
NEW_FRAME = "frame"  # the part that changed where there was no such frame


@dataclass(frozen=True)
class PastStory:
    """A storyboard as it was when it was last rendered: frame by frame, key and ingredients.

    `segments` are the numbers of frames of its segments; `model` is the folder of its weights,
    `variant` which of them, where that is known; `unshown` are the keys of what its frames are made
    from and the film does not show.
    """

    name: str
    keys: tuple[str, ...]
    ingredients: tuple[Mapping[str, Any], ...]
    segments: tuple[int, ...]
    model: str | None = None
    variant: str | None = None
    unshown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """One part of a frame's key that differs from the last render: what it was and what it is."""

    part: str
    before: object
    after: object


@dataclass(frozen=True)
class Explanation:
    """Why a frame has another key than it had: its own changes, or those of a frame before it.

    `frame` and `cause` count from 1; `cause` is the first frame that changed by itself, whose
    `changes` stand here. No changes: the frame is what it was.
    """

    frame: int
    cause: int | None
    changes: tuple[Change, ...]


def remember(
    root: Path,
    storyboard: Storyboard,
    plan: RenderPlan,
    model: str | None = None,
    variant: str | None = None,
) -> None:
    """Keep what a render is made from; a cache that cannot be written keeps nothing."""
    made_of = [frame.ingredients for frame in plan.frames]
    shared = {
        part: value
        for part, value in made_of[0].items()
        if all(part in other and other[part] == value for other in made_of)
    }
    frames = [
        {"key": f.key, "ingredients": {p: v for p, v in f.ingredients.items() if p not in shared}}
        for f in plan.frames
    ]
    weights = {"model": model, "variant": variant}
    unshown = [target.key for target in plan.targets if not target.is_shown]
    past: dict[str, Any] = {"name": _label(storyboard), **weights, "unshown": unshown}
    past |= {"segments": _segments(plan), "shared": shared, "frames": frames}
    with suppress(ArtvError):
        write_text(_file(root, storyboard), json.dumps(past))


def recall(root: Path, storyboard: Storyboard) -> PastStory | None:
    """Return the last render of this storyboard into this cache; None if there was none."""
    return _read(_file(root, storyboard))


def past_stories(root: Path) -> Iterator[PastStory]:
    """Yield every storyboard that was rendered into this cache, by name."""
    stories = (_read(file) for file in (root / "stories").glob("*.json"))
    yield from sorted((story for story in stories if story), key=lambda story: story.name)


class Comparison:
    """A plan beside the last render of its story: says of each frame why its key is another.

    A frame is compared with the one that had its place in its segment; where there was none, it is
    new.
    """

    def __init__(self, plan: RenderPlan, past: PastStory) -> None:
        self._frames, self._past = plan.frames, past
        self._by_key = {frame.key: frame for frame in reversed(plan.frames)}  # the first of equals
        self._known = frozenset(past.keys)  # a frame that has only moved is what it was
        self._places = list(_places(_segments(plan)))
        self._then = dict(zip(_places(past.segments), range(len(past.keys)), strict=False))

    def explain(self, number: int) -> Explanation:
        """Say which part of the key of frame `number` (from 1) differs from the last render.

        It may only follow from changed ones: then the first of those that it is made from, and that
        changed by itself, is the cause.
        """
        index = number - 1
        while True:
            frame = self._frames[index]
            was = self._then.get(self._places[index])
            before = None if was is None else self._past.ingredients[was]
            is_known = frame.key in self._known
            changes = () if is_known else _changes(before, frame.ingredients)
            inherited = _PARENTS if was == index else (*_PARENTS, "seed")  # its noise: its place's
            own = tuple(change for change in changes if change.part not in inherited)
            parents = [self._by_key[key].index for key in frame.parents if key in self._by_key]
            changed = [i for i in parents if self._frames[i].key not in self._known]
            if own or not changes or not changed:
                return Explanation(number, index + 1 if changes else None, own or changes)
            index = min(changed)


def _segments(plan: RenderPlan) -> list[int]:
    """Return the number of frames of each segment."""
    return list(Counter(frame.segment for frame in plan.frames).values())


def _places(segments: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield for each frame the number of its segment, and its place in there."""
    for number, frames in enumerate(segments):
        yield from ((number, place) for place in range(frames))


def _changes(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> tuple[Change, ...]:
    if before is None:
        return (Change(NEW_FRAME, _MISSING, "new"),)
    parts = [*now, *(part for part in before if part not in now)]
    return tuple(
        Change(part, before.get(part, _MISSING), now.get(part, _MISSING))
        for part in parts
        if before.get(part) != now.get(part)
    )


def _label(storyboard: Storyboard) -> str:
    """Return what a story is listed as: its name, and of piped ones how they begin."""
    if storyboard.name != PIPED:
        return storyboard.name
    return f"{PIPED}: {storyboard.title or storyboard.segments[0].prompt}"


def _file(root: Path, storyboard: Storyboard) -> Path:
    label = _label(storyboard)
    name = os.path.basename(label)
    if label != str(storyboard.folder / name):  # the words of a clip: a slash divides nothing there
        name = label
    place = f"{storyboard.folder.resolve()}\0{name}"
    slug = re.sub(r"[^\w-]+", "-", name)[:40].strip("-") or "story"
    return root / "stories" / f"{slug}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}.json"


def _read(file: Path) -> PastStory | None:
    try:
        past = json.loads(file.read_bytes())
        frames, shared = past["frames"], dict(past["shared"])
        keys = tuple(str(frame["key"]) for frame in frames)
        ingredients = tuple(shared | frame["ingredients"] for frame in frames)
        segments = tuple(map(int, past.get("segments", [len(frames)])))
        model, variant = past.get("model"), past.get("variant")
        unshown = tuple(map(str, past.get("unshown", ())))
        return PastStory(str(past["name"]), keys, ingredients, segments, model, variant, unshown)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
