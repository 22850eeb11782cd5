"""Commands that look after the cache: ls, verify, prune."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from artv_cli.cache.store import FrameStore, StoredFrame
from artv_cli.commands.options import CacheOption, TalkOptions
from artv_cli.commands.sources import surroundings
from artv_cli.console import Talk, emit, emit_json, emit_table, file_size
from artv_cli.errors import ArtvError, UsageError
from artv_cli.history import past_stories
from artv_cli.settings import flag_settings, merge
from artv_cli.story import CACHE_FOLDER

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)


def ls(talk: TalkOptions, cache: CacheOption = None) -> None:
    """List the stories in the cache, and what all its frames take.

    artv cache ls
    artv cache ls --cache /data/artv --json
    """
    store = _store(cache, talk)
    stored = list(store.entries())
    keys = {frame.path.stem for frame in stored}
    stories = [
        {"name": past.name, "frames": len(past.keys), "cached": sum(k in keys for k in past.keys)}
        for past in past_stories(store.root)
    ]
    environments = Counter(_environment(frame) for frame in stored)
    size = sum(frame.size for frame in stored)
    if talk.json:
        emit_json(
            {"cache": str(store.root), "frames": len(stored), "bytes": size, "stories": stories,
             "environments": dict(environments)}
        )  # fmt: skip
        return
    emit(f"{store.root}: {len(stored)} frames, {file_size(size)}")
    emit_table(("story", "frames", "cached"), (tuple(story.values()) for story in stories))
    emit_table(("environment", "frames"), environments.items())


def verify(talk: TalkOptions, cache: CacheOption = None) -> None:
    """Read every frame of the cache again and check each byte.

    artv cache verify

    Damaged frames are moved aside, to be drawn again by the next render; if
    there are any, or some cannot be read, the exit code is 1.
    """
    store = _store(cache, talk)
    found = store.verify()
    if talk.json:
        emit_json({"cache": str(store.root), "good": found.good, "bad": list(found.bad)})
    else:
        emit(f"{store.root}: {found.good} frames are good, {len(found.bad)} were not")
    if found.bad:
        raise ArtvError(
            f"{len(found.bad)} frames are damaged or cannot be read.",
            f"Damaged ones are now in {store.root / 'quarantine'}: render again to replace them.",
        )


def prune(
    max_size: Annotated[
        str, typer.Option(help="What may stay: 500MB, 2GB, 0.", metavar="SIZE", show_default=False)
    ],
    talk: TalkOptions,
    cache: CacheOption = None,
) -> None:
    """Remove the frames used longest ago until the cache is small enough.

    artv cache prune --max-size 2GB

    A story that is being rendered is never touched.
    """
    pruned = _store(cache, talk).prune(_bytes(max_size))
    if talk.json:
        emit_json({"removed": pruned.files, "bytes": pruned.size})
    else:
        emit(f"removed {pruned.files} frames, {file_size(pruned.size)}")


def _store(cache: Path | None, talk: TalkOptions) -> FrameStore:
    settings = merge(flag_settings(cache=cache), *surroundings(Path()).values())
    return FrameStore(settings.cache or Path(CACHE_FOLDER), warn=Talk(quiet=talk.quiet).warn)


def _environment(frame: StoredFrame) -> str:
    """Return what made a frame, in one line."""
    if frame.header is None:
        return "damaged"
    return ", ".join(f"{name} {value}" for name, value in frame.header.environment.items())


def _bytes(text: str) -> int:
    """Read a size: plain bytes, or with a decimal (MB) or binary (MiB) unit."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--max-size: {text!r} is not a size.", "Write it as 500MB, 2GB or 0.")
    number, unit, binary = match.groups()
    exponent = " kmgt".index(unit.lower()) if unit else 0
    return int(float(number) * (1024 if binary else 1000) ** exponent)
