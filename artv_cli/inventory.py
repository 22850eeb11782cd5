"""The stories in a cache: what each has there, when it was last used, and which must go first.

The store knows frames, the history knows stories; here they meet. A frame that several stories
share belongs to all of them, one that no remembered story has any more to none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from artv_cli.cache.store import FrameStore, Pruned, StoredFrame
from artv_cli.errors import CacheLocked, StorageError
from artv_cli.history import PastStory, past_stories
from artv_cli.observer import Observer


@dataclass(frozen=True)
class ShelvedStory:
    """A remembered story: how many frames it has, and what of them is in the cache.

    `bytes` counts frames that it shares with other stories too; `used` is the time of the last
    use, in seconds since 1970, None if nothing is there; `environments` says who drew how many.
    """

    name: str
    frames: int
    cached: int
    bytes: int
    used: float | None
    environments: Mapping[str, int]


def stories(store: FrameStore) -> list[ShelvedStory]:
    """Return the stories that were rendered into a cache, by name."""
    stored = {frame.path.stem: frame for frame in store.entries()}
    return [_shelved(past, stored) for past in past_stories(store.root)]


def environment(frame: StoredFrame) -> str:
    """Return what made a frame, in one line."""
    if frame.header is None:
        return "damaged"
    return ", ".join(f"{name} {value}" for name, value in frame.header.environment.items())


def keep_below(store: FrameStore, max_size: int, keep: Collection[str] = ()) -> Pruned:
    """Remove frames until at most `max_size` bytes stay: the story used longest ago goes first.

    Of a story the last frames go first, since those before them are what others may begin with;
    what it does not show, and is made from, goes last.
    Frames whose keys are in `keep` stay, whatever they take. Raises CacheLocked while another
    process renders into the store or reads it, StorageError where it cannot be locked.
    """
    stored = {frame.path.stem: frame for frame in store.entries()}
    ranks: dict[str, tuple[float, int]] = {}
    for past in past_stories(store.root):
        here = [key for key in past.keys if key in stored]
        last = max((stored[key].used for key in here), default=0.0)
        places = [(-index, key) for index, key in enumerate(past.keys)]
        for place, key in [*places, *((1, key) for key in past.unshown)]:
            if key in stored:
                ranks[key] = max(ranks.get(key, (0.0, 0)), (last, place))

    def rank(frame: StoredFrame) -> tuple[float, int]:
        return ranks.get(frame.path.stem, (frame.used, 0))

    return store.prune(max_size, keep=keep, rank=rank)


def make_room(
    store: FrameStore, limit: int | None, keep: Collection[str], observer: Observer
) -> None:
    """Remove what other stories left behind, if there is a limit; never the frames to `keep`.

    The observer hears what was removed, or why that could not be done: the film is there.
    """
    if limit is None:
        return
    try:
        pruned = keep_below(store, limit, keep)
    except (CacheLocked, StorageError) as refusal:
        observer.warn(f"the cache is not kept below its limit: {refusal.message}")
        return
    if pruned.files:
        observer.pruned(pruned.files, pruned.size)


def _shelved(past: PastStory, stored: Mapping[str, StoredFrame]) -> ShelvedStory:
    keys = dict.fromkeys(past.keys)  # a story may show a frame twice
    here = [stored[key] for key in keys if key in stored]
    return ShelvedStory(
        name=past.name,
        frames=len(past.keys),
        cached=sum(key in stored for key in past.keys),
        bytes=sum(frame.size for frame in here),
        used=max((frame.used for frame in here), default=None),
        environments=dict(Counter(map(environment, here))),
    )
