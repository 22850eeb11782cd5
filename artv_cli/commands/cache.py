"""Commands that look after the cache: ls, verify, prune."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

from artv_cli.cache.failure import command
from artv_cli.cache.store import FrameStore, Pruned, Verification
from artv_cli.commands.options import CacheOption, TalkOptions
from artv_cli.commands.sources import surroundings
from artv_cli.console import duration, emit_json, emit_prose, emit_table, file_size
from artv_cli.engine import Engine
from artv_cli.errors import ArtvError, UsageError
from artv_cli.inventory import environment, keep_below, stories
from artv_cli.loading import open_engine
from artv_cli.model.folder import find_model
from artv_cli.observer import Observer
from artv_cli.quantities import Bytes
from artv_cli.redraw import Redrawing, redraw
from artv_cli.setting_sources import flag_settings
from artv_cli.settings import Settings, merge
from artv_cli.story import CACHE_FOLDER
from artv_cli.talk import Talk


def ls(talk: TalkOptions, cache: CacheOption = None) -> None:
    """List the stories in the cache, their sizes and who drew them.

    artv cache ls
    artv cache ls --cache /data/artv --json

    A frame that stories share is counted for each of them, and once in all.
    """
    settings = _settings(cache)
    store = _store(settings, Talk(quiet=talk.quiet))
    stored = list(store.entries())
    told: dict[str, Any] = {
        "cache": str(store.root),
        "frames": len(stored),
        "bytes": sum(frame.size for frame in stored),
        "max_size": settings.max_cache_size,
        "stories": [vars(story) for story in stories(store)],
        "environments": dict(Counter(map(environment, stored))),
    }
    if talk.json:
        emit_json(told)
    else:
        _print_inventory(told)


def verify(
    talk: TalkOptions,
    render: Annotated[
        int,
        typer.Option(
            help="Also draw this many random frames again and compare their bits.",
            metavar="K",
            min=0,
            show_default=False,
        ),
    ] = 0,
    cache: CacheOption = None,
) -> None:
    """Read every frame of the cache again and check each byte.

    artv cache verify
    artv cache verify --render 5

    Damaged frames are moved aside, to be drawn again by the next render; if
    there are any, or some cannot be read, or come out otherwise when they are
    drawn again, the exit code is 1.
    """
    settings, listener = _settings(cache), Talk(quiet=talk.quiet)
    store = _store(settings, listener)
    _require_cache(store.root)
    found = store.verify()
    told: dict[str, Any] = {"cache": str(store.root), **vars(found)}
    if not talk.json:
        emit_prose(f"{store.root}: {found.good} frames are good, {len(found.bad)} were not")
    again = None
    try:
        if render:
            again = _redrawn(store, settings, render, listener)
            told["rendered"] = vars(again)
    finally:  # what was verified is told even where no frame can be drawn
        if talk.json:
            emit_json(told)
    if again is not None and not talk.json:
        emit_prose(_compared(again))
    _fail_on(found, again, store)


def prune(
    talk: TalkOptions,
    max_size: Annotated[
        str | None,
        typer.Option(
            help="What may stay: 500MB, 2GB, 0; else the setting max_cache_size.",
            metavar="SIZE",
            show_default=False,
        ),
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Remove the stories used longest ago until the cache is small enough.

    artv cache prune --max-size 2GB

    While a story is being rendered or exported, nothing is removed.
    """
    settings = _settings(cache)
    store = _store(settings, Talk(quiet=talk.quiet))
    limit = settings.max_cache_size if max_size is None else _size(max_size)
    if limit is None:
        raise UsageError(
            "--max-size is missing, and no setting max_cache_size limits the cache.",
            f"Say what may stay: {command('prune --max-size 2GB', store.root)}.",
        )
    pruned = keep_below(store, limit) if store.root.exists() else Pruned(0, 0)
    if talk.json:
        emit_json({"removed": pruned.files, "bytes": pruned.size})
    else:
        emit_prose(f"removed {pruned.files} files, {file_size(pruned.size)}")


def _settings(cache: Path | None) -> Settings:
    return merge(flag_settings(cache=cache), *surroundings(Path()).values())


def _store(settings: Settings, observer: Observer) -> FrameStore:
    """Return the cache that is meant; UsageError where one is named and is none."""
    if settings.cache is not None:
        _require_cache(settings.cache)
    return FrameStore(settings.cache or Path(CACHE_FOLDER), warn=observer.warn)


def _require_cache(root: Path) -> None:
    """Raise UsageError for a folder that is none, or none of artv's."""
    if not ((root / "CACHEDIR.TAG").is_file() or (root / "frames").is_dir()):
        inside = root / CACHE_FOLDER
        known = f": --cache {shlex.quote(str(inside))}" if inside.is_dir() else " with --cache"
        raise UsageError(f"There is no cache at {root}.", f"Name its folder{known}.")


def _size(text: str) -> int:
    try:
        return Bytes().parse(text)
    except ValueError as error:
        raise UsageError(f"--max-size {error}.", "Write it as 500MB, 2GB or 0.") from None


def _print_inventory(told: dict[str, Any]) -> None:
    limit = "" if told["max_size"] is None else f" of at most {file_size(told['max_size'])}"
    emit_prose(f"{told['cache']}: {told['frames']} frames, {file_size(told['bytes'])}{limit}")
    if not told["frames"]:
        return
    emit_table(
        ("story", "frames", "cached", "size", "last used", "drawn by"),
        (
            (
                story["name"],
                story["frames"],
                story["cached"],
                file_size(story["bytes"]),
                _ago(story["used"]),
                "; ".join(story["environments"]),
            )
            for story in told["stories"]
        ),
    )
    emit_table(("environment", "frames"), told["environments"].items())


def _ago(used: float | None) -> str:
    return "" if used is None else f"{duration(max(0.0, time.time() - used))} ago"


def _redrawn(store: FrameStore, settings: Settings, count: int, observer: Observer) -> Redrawing:
    def open_it(model: str, variant: str | None, dtype: Any) -> Engine:
        folder, offload = find_model(model, None, variant), settings.offload or "none"
        return open_engine(folder, observer, settings.device, dtype, variant, offload=offload)

    return redraw(store, count, open_it, Random())


def _compared(again: Redrawing) -> str:
    drawn = len(again.same) + len(again.different)
    told = f"{drawn} frames drawn again: {len(again.same)} are the same bits"
    if again.different:
        told += f", {len(again.different)} are not ({', '.join(again.different)})"
    if again.foreign:
        elsewhere = "drawn elsewhere, by other weights or from other frames"
        told += f"; {again.foreign} were {elsewhere}, and not compared"
    return told


def _fail_on(found: Verification, again: Redrawing | None, store: FrameStore) -> None:
    """Raise ArtvError for the worst that is wrong: damage can be mended, other bits cannot."""
    if again is not None and again.different:
        raise ArtvError(
            f"{len(again.different)} frames of {store.root} come out otherwise when they are drawn"
            f" again: {', '.join(again.different)}.",
            "This machine does not draw the same bits twice: tell us, with `artv doctor`.",
        )
    if found.bad:
        raise ArtvError(
            f"{len(found.bad)} frames of {store.root} are damaged or cannot be read.",
            f"Damaged ones are now in {store.root / 'quarantine'}: render again to replace them.",
        )
