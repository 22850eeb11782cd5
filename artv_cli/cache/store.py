"""The frame store: every frame that was ever made, each found by its key, each read verified.

::

    <root>/                      `.artv` beside the storyboard, unless the user says otherwise
      CACHEDIR.TAG               tells backup programs that all this can be made again
      frames/<k[:2]>/<k>.artv    the entry of key k: one file, format in `artv_cli.cache.entry`
      quarantine/                files that failed a check, kept for whoever wonders why
      lock                       held by the process that renders
      lock.json                  who that is: {"host", "pid", "started"}; true only while locked
      readers                    locked by the processes that make films of frames that are there
      stories/                   what was last rendered of each storyboard (`artv_cli.history`)
      timings.json               what a frame cost here (`artv_cli.timings`)

Promises, each with its test:

1.  **One commit point.** An entry is written to a unique temporary file beside its place,
    flushed, synced and measured, then renamed, then the folder is synced. Whenever a process dies,
    an entry is there as a whole or not at all.
2.  **Every read verifies.** What is damaged, cut short, empty, of another version, under another
    key's name or not all numbers is a miss: moved to quarantine with one warning, and made again.
    What cannot be read for another reason is a miss as well, and stays.
3.  **No mixed lineage.** An entry records the digests of the frames it was conditioned on. Should
    one of those come back with other bits, the entry is a miss, and so are all after it.
4.  **Locks save work, renames give correctness.** The lock keeps two processes from making the
    same frame twice; without it they still commit the same bits. The system frees it when its
    holder dies, so a stale lock does not exist. Only frames are never removed without locks: what
    a process renders or reads stays, and where no lock can be had, all stays.
5.  **No clocks.** Times decide what to prune first, never what is valid.
6.  A cache that cannot be written serves all that it has.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from artv_cli.cache.cache_lock import CacheLock
from artv_cli.cache.entry import (
    BadEntry,
    Entry,
    Header,
    entry_at,
    header_at,
    make_entry,
    pack_entry,
)
from artv_cli.cache.failure import reason, storage_error
from artv_cli.errors import StorageError
from artv_cli.files.durable import commit, make_folder, sweep
from artv_cli.latents import Latents, Pixels

CACHEDIR_TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# The frames that artv rendered: safe to delete, since artv makes them again.
# About this tag: https://bford.info/cachedir/
"""


@dataclass(frozen=True)
class StoredFrame:
    """A file of the store as a listing shows it; `header` is None if the file is damaged.

    `size` is in bytes, `used` the time of its last use in seconds since 1970.
    """

    path: Path
    size: int
    used: float
    header: Header | None


@dataclass(frozen=True)
class Verification:
    """What re-reading every entry found: how many are good, and the names of the others."""

    good: int
    bad: tuple[str, ...]


@dataclass(frozen=True)
class Pruned:
    """What was removed: number of files, and bytes."""

    files: int
    size: int


class FrameStore:
    """The frames under one root folder.

    `environment` is what can change the last bit of a frame besides its key. Entries of another
    environment are used all the same and counted in `foreign`, or with `strict` made again. Left
    out, it is not known until somebody sets it (`render` does, once it has an engine).
    `warn` gets one sentence for each damaged file.
    """

    def __init__(
        self,
        root: Path,
        *,
        environment: Mapping[str, str] | None = None,
        strict: bool = False,
        warn: Callable[[str], None],
    ) -> None:
        if strict and environment is None:
            raise ValueError("a strict store needs to know its environment from the start")
        self.root = Path(root)
        self.environment = environment
        self._strict = strict
        self._warn = warn
        self._warned: set[Path] = set()
        self._served: Counter[frozenset[tuple[str, str]]] = Counter()
        self._lock = CacheLock(self.root)

    def path(self, key: str) -> Path:
        """Return where the entry of a key stands, or would stand."""
        return self.root / "frames" / key[:2] / f"{key}.artv"

    def get(self, key: str, parents: Mapping[str, str]) -> Entry | None:
        """Return the verified entry of a key, or None where the frame must be made.

        `parents` maps the keys that the frame is conditioned on to the digests of their entries.
        """
        path = self.path(key)
        try:
            entry = entry_at(path, self.root)
        except FileNotFoundError:
            return None
        except (BadEntry, OSError) as error:
            self._set_aside(path, error)
            return None
        if entry.parents != parents or self._refuses(entry.environment):
            return None
        self._served[frozenset(entry.environment.items())] += 1
        with contextlib.suppress(OSError):  # a cache that cannot be written is never pruned
            os.utime(path)
        return entry

    def peek(self, key: str) -> Header | None:
        """Return the header of the entry that `get` may serve; touches nothing, warns of nothing.

        The header is verified and so is the file's length; damage in the payload goes unseen.
        """
        header = header_at(self.path(key))
        if header is None or self._refuses(header.environment):
            return None
        return header

    def _refuses(self, environment: Mapping[str, str]) -> bool:
        return self._strict and environment != self.environment

    @property
    def foreign(self) -> dict[str, int]:
        """How many of the frames served another environment made, by what it had otherwise."""
        counts: Counter[str] = Counter()
        for served, count in self._served.items():
            if self.environment is not None and dict(served) != self.environment:
                counts[_difference(dict(served), self.environment)] += count
        return dict(counts)

    def put(self, key: str, latents: Latents, pixels: Pixels, parents: Mapping[str, str]) -> Entry:
        """Commit a frame and return its entry: the very values that a later `get` returns.

        Raises StorageError if there is no space or the folder cannot be written; what was
        committed before stays as it is.
        """
        entry = make_entry(key, latents, pixels, parents, self.environment or {})
        self.prepare()
        try:
            make_folder(self.path(key).parent)
            commit(self.path(key), pack_entry(entry))
        except OSError as error:
            raise storage_error(self.root, error) from error
        return entry

    def prepare(self) -> None:
        """Make the folders, and raise StorageError if frames cannot be written there.

        Worth a call before a model is loaded for a frame that then cannot be kept.
        """
        frames, tag = self.root / "frames", self.root / "CACHEDIR.TAG"
        try:
            make_folder(frames)
            if not tag.exists():
                commit(tag, CACHEDIR_TAG)
            if not os.access(frames, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(frames))
        except OSError as error:
            raise storage_error(self.root, error) from error

    def _set_aside(self, path: Path, error: Exception) -> None:
        """Say once that an entry cannot be used, and move it to quarantine if it is bad.

        An OSError says nothing about the entry, and may not come again: then it stays.
        """
        if not isinstance(error, OSError):
            refuge = self.root / "quarantine" / f"{path.stem}-{secrets.token_hex(4)}{path.suffix}"
            with contextlib.suppress(OSError):
                make_folder(refuge.parent)
                os.replace(path, refuge)
        if path not in self._warned:
            self._warned.add(path)
            self._warn(f"a cached frame cannot be used: {reason(error)} ({path})")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store while rendering into it: others raise CacheLocked, naming this process.

        Nested calls are free. What killed processes left half written is swept away.
        """
        with contextlib.suppress(OSError):  # a store that cannot be written needs no lock
            make_folder(self.root)
        with self._lock.hold():
            with contextlib.suppress(OSError):  # what cannot be listed is swept another time
                sweep((*self.root.glob("*.tmp"), *self.root.glob("frames/*/*.tmp")))
            yield

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Keep every frame where it is, beside others who read or render.

        Raises CacheLocked at once while frames are being removed.
        """
        return self._lock.share()

    def entries(self) -> Iterator[StoredFrame]:
        """Yield every file that stands where an entry may stand, in order of key."""
        for path in sorted(self.root.glob("frames/*/*.artv")):
            with contextlib.suppress(FileNotFoundError):  # somebody prunes meanwhile
                facts = path.stat()
                yield StoredFrame(path, facts.st_size, facts.st_mtime, header_at(path))

    def verify(self) -> Verification:
        """Re-read every entry, picture and all; move what is bad to quarantine.

        What cannot be read counts as bad and stays where it is.
        """
        good, bad = 0, []
        for path in sorted(self.root.glob("frames/*/*.artv")):
            try:
                entry_at(path).pixels()
                good += 1
            except FileNotFoundError:  # somebody prunes meanwhile
                continue
            except (BadEntry, OSError, StorageError) as error:
                self._set_aside(path, error)
                bad.append(path.name)
        return Verification(good, tuple(bad))

    def prune(
        self,
        max_size: int,
        *,
        keep: Collection[str] = (),
        rank: Callable[[StoredFrame], tuple[float, int]] = lambda frame: (frame.used, 0),
    ) -> Pruned:
        """Remove quarantined files, then the frames used longest ago, until `max_size` bytes stay.

        Keys in `keep` stay; `rank` is another order, lowest first. Raises CacheLocked while others
        render or read, StorageError where no lock can tell whether they do.
        """
        with self.lock(), self._lock.empty():
            freed = [_remove(path) for path in self.root.glob("quarantine/*.artv")]
            kept = sorted(self.entries(), key=lambda stored: (rank(stored), stored.path))
            size = sum(stored.size for stored in kept)
            for stored in kept:
                if size > max_size and stored.path.stem not in keep:
                    freed.append(_remove(stored.path))
                    size -= freed[-1] or 0
        removed = [length for length in freed if length is not None]
        return Pruned(len(removed), sum(removed))


def _remove(path: Path) -> int | None:
    """Remove a file and return the bytes that this freed, None if it could not be removed."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return None
    return size


def _difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Say in a few words what another environment had otherwise."""
    names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    return ", ".join(f"{name} {there.get(name, '?')}, here {here.get(name, '?')}" for name in names)
