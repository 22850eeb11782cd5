"""What a user asked for, put in place whole or not at all.

Everything is made in a fresh folder beside its destination (so on the same file system), synced,
and moved there by one rename. Whoever is killed on the way leaves the old output as it was, and
a hidden `*.part` folder that the next writer of the same output sweeps away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artv_cli.errors import StorageError, UsageError
from artv_cli.files import exchange
from artv_cli.files.durable import HOST, NO_SPACE, is_abandoned, make_folder, sync_folder

_OLD = "old"  # what a folder is called in the work folder while its successor takes its place


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file or a folder that takes the place of `path` when all went well.

    The yielded path has the same extension and stands in a fresh folder that has room for other
    temporary files under other names than `output` and `old`. Missing parent folders are made.
    Where two folders cannot trade places in one step, a kill between two renames leaves the old
    one in the work folder, and the next writer puts it back. Raises StorageError; UsageError
    where `path` must not be replaced, such as a device.
    """
    with storage_errors(path):
        suffix, path = path.suffix, real_path(path)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UsageError(f"{path} is neither a file nor a folder.", "Choose another output.")
        make_folder(path.parent)
        _sweep(path)
        work = Path(tempfile.mkdtemp(".part", f"{work_prefix(path)}{os.getpid()}-", path.parent))
        try:
            part = work / f"output{suffix}"
            yield part
            _sync(part)
            _take_place(part, path)
            sync_folder(path.parent)
        finally:
            _clear(work, path)


def is_work_of(entry: Path, path: Path) -> bool:
    """Tell whether a folder is where `path` is made, or was when somebody was killed."""
    is_named = entry.name.startswith(_stem(path)) and entry.name.endswith(".part")
    return is_named and entry.is_dir() and not entry.is_symlink()


def work_prefix(path: Path) -> str:
    """Return how the names of the folders begin in which this machine makes `path`."""
    return f"{_stem(path)}{HOST[:60]}-"


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file whole or not at all; raises StorageError."""
    with replacing(path) as part:
        part.write_bytes(text.encode())


def real_path(path: Path) -> Path:
    """Return what a path leads to; OSError for a loop of links, which `resolve` does not raise."""
    real = Path(os.path.realpath(path))
    with suppress(FileNotFoundError, NotADirectoryError):
        real.stat()
    return real


def holds(outer: Path, inner: Path) -> bool:
    """Tell whether two paths lead to one place, or the first to a folder around the second."""
    around, within = real_path(outer), real_path(inner)
    return around == within or around in within.parents


def remove(path: Path, remedy: str) -> None:
    """Remove a file if it is there; StorageError, with this remedy, where that cannot be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be removed: {error.strerror}.", remedy) from error


def require_place(path: Path, remedy: str) -> None:
    """Raise StorageError, with this remedy, where nothing can be put at `path`."""
    with storage_errors(path):
        folder = next(parent for parent in real_path(path).parents if parent.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StorageError(f"{folder} cannot be written.", remedy)


@contextmanager
def storage_errors(path: Path, kept: str = "what is finished is kept") -> Iterator[None]:
    """Have an OSError inside say, as StorageError, that `path` cannot be written.

    `kept`: what a full disk costs nobody.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "Choose another place, or change who may write there."
        if error.errno in NO_SPACE:
            remedy = f"Free some space, or choose another place; {kept}."
        raise StorageError(f"{path!s:.200} cannot be written: {reason}.", remedy) from error


def _take_place(new: Path, path: Path) -> None:
    if not (new.is_dir() and path.is_dir()):
        os.replace(new, path)  # refuses to put a file where a folder stands
    elif not exchange.exchange(new, path):
        os.rename(path, new.with_name(_OLD))
        os.rename(new, path)  # whoever fails or is stopped before it is done clears up: see there


def _clear(work: Path, path: Path) -> None:
    """Remove a work folder, but never the only folder that there is: it goes back to `path`."""
    old = work / _OLD
    with suppress(OSError):  # what cannot go back now waits for the next writer
        if old.exists() and not path.exists():
            os.rename(old, path)
        shutil.rmtree(work, ignore_errors=True)


def _stem(path: Path) -> str:
    """Return how the names of the folders begin in which anybody makes `path`, and nothing else."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()  # other names begin alike
    return f".{path.name[:20]}.{digest[:8]}."  # a name holds 255 bytes, a character up to four


def _sweep(path: Path) -> None:
    """Remove what writers of `path` left behind when they were killed."""
    ours = work_prefix(path)
    for entry in path.parent.iterdir():
        if is_work_of(entry, path):
            pid = entry.name[len(ours) :].partition("-")[0] if entry.name.startswith(ours) else ""
            with suppress(OSError):  # another writer sweeps as well
                if is_abandoned(entry, int(pid) if pid.isdecimal() else None):
                    _clear(entry, path)


def _sync(path: Path) -> None:
    if path.is_dir():
        for entry in path.iterdir():
            _sync(entry)
        sync_folder(path)
        return
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
