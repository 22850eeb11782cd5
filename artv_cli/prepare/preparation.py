"""From captioned videos to shards: every video into clips, the best clips into shards, a report.

What is done stays done. Each video has its record and each shard its file, written whole; a
second run of the same order goes on from there, and ends in the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from threading import Event, Lock
from typing import Any

from artv_cli.errors import UsageError
from artv_cli.files.durable import commit, make_folder, sweep
from artv_cli.files.lock import alone
from artv_cli.files.output import storage_errors
from artv_cli.media import ffmpeg
from artv_cli.model.folder import ModelFolder, find_model
from artv_cli.prepare.choice import Choice
from artv_cli.prepare.clips import CRF, EPOCH, FEWEST, FPS, MULTIPLE, ClipMaker, Cutting, Scorer
from artv_cli.prepare.records import Record, Records, read_object, require_same
from artv_cli.prepare.report import KEPT, Report
from artv_cli.prepare.shards import Encoder, Sample, index_of, shard_name, write_shard
from artv_cli.prepare.shots import require_scenedetect
from artv_cli.prepare.sources import Source, list_sources
from artv_cli.prepare.workers import side_by_side
from artv_cli.shard_format import INDEX

WORK = ".work"  # in the output folder, until all is done
REPORT, PICTURE, UNREADABLE = "report.json", "report.png", "unreadable.txt"
LINE_INTERVAL = 10.0  # seconds between two lines of progress
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be prepared, and how.

    `size` is the shorter side in pixels; `motion` the least and the most; `keep` the share of
    clips with the best captions, asked for with `clip_model` alone; `latents` names an artv model,
    at whose own size they are made.
    """

    places: tuple[Path, ...]
    out: Path
    videos: Path | None = None
    size: int = 320
    max_seconds: float = 10.0
    motion: tuple[float, float] = (1.0, 20.0)
    clip_model: str | None = None
    keep: float = 0.5
    latents: str | None = None
    shard_samples: int = 256
    workers: int = 1
    device: str = "auto"

    def sources(self) -> Iterator[Source]:
        """Yield the videos, in the same order every time."""
        return list_sources(self.places, self.videos)


def prepare(order: Order, say: Say) -> dict[str, Any]:
    """Make the shards, and return the report; a finished order is only read.

    Raises UsageError for an order that cannot be carried out, or is not the one that was begun;
    CacheLocked while another process works in the same folder; ModelError; StorageError.
    """
    require_scenedetect()
    ffmpeg.run("-version")  # one failure here, rather than one for each video
    model = None if order.latents is None else find_model(order.latents)
    if order.size % MULTIPLE:
        raise UsageError(f"--size {order.size} is no multiple of {MULTIPLE}.", "Round it.")
    identity = _identity(order, model)
    if (order.out / INDEX).exists():
        return _finished(order.out, identity)
    _require_own(order.out, order.places)
    with alone(order.out / WORK / "lock", f"Another process prepares {order.out}."):
        return _Work(order, identity, model, say).run()


def _identity(order: Order, model: ModelFolder | None) -> dict[str, Any]:
    """Return all that decides the shards' bytes, models by their digests.

    Videos by their names, sizes and dates: reading them all would take as long as the work.
    """
    listing = _Listing()
    for source in order.sources():
        listing.add(source)
    if not listing.videos:
        places = ", ".join(map(str, order.places))
        raise UsageError(f"There are no videos in {places:.200}.", "Name other folders or files.")
    return {
        "clips": {"epoch": EPOCH, "fps": FPS, "crf": CRF, "fewest": FEWEST},
        "videos": listing.videos,
        "list": listing.digest.hexdigest(),
        "size": order.size,
        "max_seconds": order.max_seconds,
        "motion": list(order.motion),
        "clip_model": _clip_fingerprint(order.clip_model),
        "keep": order.keep if order.clip_model else None,
        "latents": model and _latents_of(model),
        "shard_samples": order.shard_samples,
    }


class _Listing:
    """How many videos were listed, and what they are."""

    def __init__(self) -> None:
        self.videos, self.digest = 0, hashlib.sha256()

    def add(self, source: Source) -> None:
        self.videos += 1
        listed = [source.name, source.span, source.caption, source.stamps()]
        self.digest.update(json.dumps(listed).encode())


def _latents_of(model: ModelFolder) -> dict[str, Any]:
    return {"vae": model.vae_fingerprint, "size": list(model.preferences.size)}


def _clip_fingerprint(name: str | None) -> str | None:
    if name is None:
        return None
    from artv_cli.prepare.captions import find_clip  # torch comes with it

    return find_clip(name).fingerprint


def _finished(out: Path, identity: dict[str, Any]) -> dict[str, Any]:
    report = read_object(out / REPORT)
    require_same(report.get("order", {}), identity, out)
    shutil.rmtree(out / WORK, ignore_errors=True)  # a kill may have left it
    return report


def _require_own(out: Path, places: Sequence[Path]) -> None:
    """Raise UsageError where shards must not be made: among videos, or among other things."""
    if around := next((p for p in places if out.resolve().is_relative_to(p.resolve())), None):
        raise UsageError(f"--out {out} lies in {around}, whose videos are read.", "Name another.")
    with storage_errors(out):
        if out.exists() and not (out / WORK).is_dir():
            if not out.is_dir() or any(out.iterdir()):
                raise UsageError(
                    f"{out} is there, and holds no begun work.", "Name a new or an empty folder."
                )
        make_folder(out / WORK)


class _Work:
    """One order being carried out."""

    def __init__(
        self, order: Order, identity: dict[str, Any], model: ModelFolder | None, say: Say
    ) -> None:
        self._order, self._identity, self._model, self._say = order, identity, model, say
        self._count = int(identity["videos"])
        self._records = Records(order.out / WORK)
        self._cutting = Cutting(order.size, max(1, round(order.max_seconds * FPS)), order.motion)

    def run(self) -> dict[str, Any]:
        self._records.open(self._identity)
        sweep(self._order.out.glob("*.tmp"))
        self._make_clips()
        report = Report(self._cutting.longest)
        shards = self._write_shards(report)
        told = report.to_json(self._identity)
        self._write(UNREADABLE, _lines(report.unreadable))
        self._write(PICTURE, report.to_png())
        self._write(REPORT, _pretty(told))
        self._write(INDEX, _pretty(index_of(shards)))
        self._records.remove()
        return told

    def _make_clips(self) -> None:
        done = sum(map(self._records.is_done, range(self._count)))
        if done == self._count:
            return
        if done:
            self._say(f"{done} of {self._count} videos are done already")
        maker = ClipMaker(self._records, self._cutting, self._scorer())
        jobs = (
            partial(maker.make, index, source)
            for index, source in enumerate(self._sources())
            if not self._records.is_done(index)
        )
        ticker = _Ticker(self._say)
        clips = unusable = 0
        made = side_by_side(jobs, self._order.workers, maker.stop.set)
        for number, record in enumerate(made, start=done + 1):
            clips += sum(clip.is_moving for clip in record.clips)
            unusable += bool(record.trouble)
            ticker.tell(f"{number} of {self._count} videos, {clips} clips, {unusable} unreadable")

    def _sources(self) -> Iterator[Source]:
        """Yield the videos again; UsageError where they are others than at the beginning."""
        listing = _Listing()
        for source in self._order.sources():
            listing.add(source)
            if listing.videos <= self._count:
                yield source
        told = {"videos": listing.videos, "list": listing.digest.hexdigest()}
        require_same(self._identity, self._identity | told, self._order.out)

    def _scorer(self) -> Scorer | None:
        if self._order.clip_model is None:
            return None
        self._say(f"loading {self._order.clip_model}")
        from artv_cli.prepare.captions import CaptionScorer, find_clip  # torch comes with it

        return CaptionScorer(find_clip(self._order.clip_model), self._order.device)

    def _encoder(self) -> Encoder | None:
        if self._model is None:
            return None
        self._say(f"loading the autoencoder of {self._model.name}")
        from artv_cli.prepare.latents import LatentEncoder  # torch comes with it

        return LatentEncoder(self._model, self._order.device)

    def _write_shards(self, report: Report) -> list[tuple[Path, int]]:
        encoder = self._encoder()
        samples = self._samples(report)
        ticker, shards = _Ticker(self._say), list[tuple[Path, int]]()
        stop, written = Event(), count(1)

        def tell() -> None:
            ticker.tell(f"{next(written)} samples, {len(shards)} shards")

        def write(number: int, batch: list[Sample]) -> tuple[Path, int]:
            path = self._order.out / shard_name(number)
            write_shard(path, batch, encoder, stop, tell)
            return path, len(batch)

        batches = iter(lambda: list(islice(samples, self._order.shard_samples)), [])
        jobs = (partial(write, number, batch) for number, batch in enumerate(batches))
        for shard in side_by_side(jobs, self._order.workers, stop.set):
            shards.append(shard)
            ticker.tell(f"{len(shards)} shards")
        return sorted(shards)

    def _samples(self, report: Report) -> Iterator[Sample]:
        """Yield the chosen clips in the order of their videos, and tell the report of all."""
        choice = Choice(self._all_records(), self._order.keep, self._order.motion)
        key = 0
        for index, (record, outcomes) in enumerate(choice.outcomes(self._all_records())):
            report.add_video(record)
            for clip, outcome in zip(record.clips, outcomes, strict=True):
                report.add_clip(clip, outcome)
                if outcome == KEPT:
                    path = self._records.clip_path(index, clip.start)
                    yield Sample(key, record.name, record.caption, clip, path)
                    key += 1

    def _all_records(self) -> Iterator[Record]:
        return (self._records.read(index) for index in range(self._count))

    def _write(self, name: str, data: bytes) -> None:
        with storage_errors(self._order.out / name):
            commit(self._order.out / name, data)


class _Ticker:
    """Says how far the work is, not too often; threads may share it."""

    def __init__(self, say: Say) -> None:
        self._say, self._turn = say, Lock()
        self._next = time.monotonic() + LINE_INTERVAL

    def tell(self, line: str) -> None:
        with self._turn:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + LINE_INTERVAL
                self._say(line)


def _lines(lines: list[str]) -> bytes:
    """Return lines as UTF-8; a file's name may hold bytes that are none."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _pretty(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
