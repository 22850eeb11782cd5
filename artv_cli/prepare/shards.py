"""Shards written, in the form that `artv_cli.shard_format` tells.

Each sample is a video, a caption, facts and, where they were asked for, latents, in this order;
the key is a number, unique over all shards. Members carry no date and no owner: the same samples
give the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from artv_cli.errors import StorageError
from artv_cli.files.output import replacing
from artv_cli.prepare.clips import FPS, Stopped
from artv_cli.prepare.records import Clip
from artv_cli.shard_format import CAPTION, FACTS, FORMAT, LATENTS, VIDEO


class Encoder(Protocol):
    """Makes the latents of a clip; `facts` says whose they are and how large."""

    facts: dict[str, Any]

    def encode(self, clip: Path, frames: int) -> bytes:
        """Return a safetensors file with the latents of a film of so many frames."""
        ...


@dataclass(frozen=True)
class Sample:
    """A clip that was chosen: its number, what video it comes from, and its file."""

    key: int
    source: str
    caption: str
    clip: Clip
    path: Path

    def facts(self, encoder: Encoder | None) -> dict[str, Any]:
        """Return what the sample's JSON says, of its latents as well; `start` in seconds."""
        clip = self.clip
        return {
            "source": self.source,
            "start": clip.start / FPS,
            "frames": clip.frames,
            "fps": FPS,
            "width": clip.width,
            "height": clip.height,
            "motion": clip.motion,
            "clip": clip.caption_score,
            **({} if encoder is None else {"latents": encoder.facts}),
        }


def shard_name(number: int) -> str:
    """Return the name of a shard, counted from 0."""
    return f"shard-{number:06d}.tar"


def write_shard(
    path: Path,
    samples: Sequence[Sample],
    encoder: Encoder | None,
    stop: Event,
    tell: Callable[[], None],
) -> None:
    """Write a shard, whole or not at all, and remove the clips that it now holds.

    A shard that is there is left as it is; otherwise `tell` is called after each sample. Raises
    StorageError; EncodeError or ModelError where latents cannot be made; Stopped once `stop` is
    set.
    """
    if not path.exists():
        with replacing(path) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                if stop.is_set():  # a whole shard of latents may take an hour
                    raise Stopped
                for suffix, data in _members(sample, encoder):
                    member = tarfile.TarInfo(f"{sample.key:09d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                tell()
    for sample in samples:
        sample.path.unlink(missing_ok=True)


def _members(sample: Sample, encoder: Encoder | None) -> Iterator[tuple[str, bytes]]:
    try:
        film = sample.path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"The clip {sample.path} cannot be read: {error.strerror}.",
            "Remove the output folder, and run the same command again.",
        ) from None
    yield VIDEO, film
    yield CAPTION, sample.caption.encode()
    yield FACTS, json.dumps(sample.facts(encoder)).encode()
    if encoder is not None:
        yield LATENTS, encoder.encode(sample.path, sample.clip.frames)


def index_of(shards: Sequence[tuple[Path, int]]) -> dict[str, Any]:
    """Return what `shards.json` says of shards and their numbers of samples."""
    return {
        "format": FORMAT,
        "samples": sum(samples for _, samples in shards),
        "shards": [
            {"name": path.name, "samples": samples, "bytes": path.stat().st_size}
            for path, samples in shards
        ],
    }
