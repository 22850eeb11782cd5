"""The user's clips on disk, as `artv prepare` leaves them: `artv_cli.shard_format` tells how.

Where each member of a sample lies is read once; nothing is unpacked.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from artv_cli.errors import UsageError
from artv_cli.shard_format import CAPTION, FACTS, FORMAT, INDEX, LATENTS, VIDEO

SHORTEST = 2  # frames: one to learn, one to learn it from
_AGAIN = "Make the shards again: `artv prepare`."

Span = tuple[int, int]  # first byte and length


@dataclass(frozen=True, slots=True)
class Make:
    """What latents are: the fingerprint of the autoencoder, and channels, height and width."""

    vae: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one clip lies, how many frames it has, and the make of its latents, where told.

    `source`: the video that it was cut from, where told.
    """

    key: str
    shard: Path
    frames: int
    video: Span
    caption: Span
    latents: Span | None
    make: Make | None = None
    source: str = ""

    def read(self, span: Span) -> bytes:
        """Return the bytes of one of its members."""
        with self.shard.open("rb") as file:
            file.seek(span[0])
            return file.read(span[1])


def find_samples(folders: Sequence[Path]) -> list[Sample]:
    """Return the clips in folders of shards, in order; those too short to learn from are left out.

    Raises UsageError where there are none, or where a shard is missing, cut off or of another
    kind.
    """
    found = [s for folder in folders for path in _shards(folder) for s in _samples(path)]
    samples = [sample for sample in found if sample.frames >= SHORTEST]
    if not samples:
        raise UsageError(
            f"{', '.join(map(str, folders))} holds no clip of {SHORTEST} frames or more", _AGAIN
        )
    return samples


def with_latents_of(make: Make, samples: Sequence[Sample]) -> tuple[list[Sample], list[str]]:
    """Return the samples without latents of another make, and a sentence for each way they differ.

    What has no latents is decoded and encoded while it is trained on.
    """
    kept: list[Sample] = []
    counts: Counter[str] = Counter()
    for sample in samples:
        if sample.latents is not None and sample.make != make:
            counts[_difference(make, sample.make)] += 1
            sample = replace(sample, latents=None)
        kept.append(sample)
    return kept, [
        f"the latents of {count} of {len(samples)} clips are {difference}: these clips are decoded"
        " and encoded anew"
        for difference, count in counts.items()
    ]


def _difference(wanted: Make, make: Make | None) -> str:
    if make is None:
        return "of an autoencoder that the shards do not tell"
    if make.vae != wanted.vae:
        return "of another autoencoder than the model's"
    there, here = ("x".join(map(str, m.shape)) for m in (make, wanted))
    return f"of another size, {there} instead of {here}"


def split(samples: Sequence[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Return the samples to train with, and the `share` (0 to 1) that is held out.

    The clips of a video stay together: they are too much alike to judge each other. Its name alone
    (where it is not told, a clip's key) decides, so new clips move no old ones to the other side.
    """
    sides: tuple[list[Sample], list[Sample]] = [], []
    for sample in samples:
        digest = hashlib.sha256((sample.source or sample.key).encode()).digest()
        sides[int.from_bytes(digest[:8]) < share * 2**64].append(sample)
    return sides


def _shards(folder: Path) -> Iterator[Path]:
    """Yield the shards of a folder, each as long as the list says."""
    for entry in _listed(folder):
        path = folder / Path(entry["name"]).name
        if not path.is_file():
            raise UsageError(f"{path} is missing", _AGAIN)
        if (size := path.stat().st_size) != entry["bytes"]:
            raise UsageError(
                f"{path} is damaged: it has {size} bytes instead of {entry['bytes']}", _AGAIN
            )
        yield path


def _listed(folder: Path) -> list[dict[str, Any]]:
    file = folder / INDEX
    try:
        content = json.loads(file.read_bytes())
        if content["format"] != FORMAT:
            raise UsageError(f"{file} says {content['format']!r}, not {FORMAT!r}", _AGAIN)
        return [{"name": str(s["name"]), "bytes": int(s["bytes"])} for s in content["shards"]]
    except FileNotFoundError:
        raise UsageError(
            f"{folder} holds no shards: there is no {INDEX}", "`artv prepare` makes them of videos."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", _AGAIN) from None


def _samples(path: Path) -> Iterator[Sample]:
    try:
        with tarfile.open(path, "r:") as archive:
            for key, members in itertools.groupby(archive, lambda member: _named(member)[0]):
                yield _sample(path, key, {_named(m)[1]: m for m in members})
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UsageError(f"{path} is damaged: {error}", _AGAIN) from None


def _named(member: tarfile.TarInfo) -> tuple[str, str]:
    """Return a member's key and what it is: the key ends at the first dot of the file's name."""
    folder, slash, name = member.name.rpartition("/")
    stem, _, kind = name.partition(".")
    return f"{folder}{slash}{stem}", kind


def _sample(path: Path, key: str, members: dict[str, tarfile.TarInfo]) -> Sample:
    if missing := [kind for kind in (VIDEO, CAPTION, FACTS) if kind not in members]:
        raise UsageError(f"{path} has no {key}.{missing[0]}", _AGAIN)
    spans = {kind: (m.offset_data, m.size) for kind, m in members.items()}
    with path.open("rb") as file:
        file.seek(spans[FACTS][0])
        try:
            facts = json.loads(file.read(spans[FACTS][1]))
            frames = int(facts["frames"])
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path}: {key}.json does not say its frames", _AGAIN) from None
    video, caption, latents = spans[VIDEO], spans[CAPTION], spans.get(LATENTS)
    make, source = _make(facts.get("latents")), sys.intern(str(facts.get("source") or ""))
    return Sample(key, path, frames, video, caption, latents, make, source)


def _make(told: Any) -> Make | None:
    match told:
        case {"vae": str(vae), "shape": [int(), int(), int()] as shape}:
            return _shared(Make(vae, tuple(shape)))
    return None


@cache
def _shared(make: Make) -> Make:
    """Return one object for all of the same make: there may be millions of samples."""
    return make
