"""Files that survive a kill and a power cut: written aside, synced, and renamed into place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable
from pathlib import Path

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DENIED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
HOST = socket.gethostname()
_DAY = 86_400  # seconds
_TOKEN = re.compile("[0-9a-f]{8}")


def commit(path: Path, data: bytes) -> None:
    """Put `data` at `path`: whatever happens, the old file or the whole new one is there.

    Unique temporary file beside it, write, flush, sync, measure, rename, sync of the folder.
    Raises OSError, and leaves no temporary file unless the process is killed.
    """
    temporary = temporary_for(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if os.fstat(file.fileno()).st_size != len(data):
                raise OSError(errno.EIO, "the file came out shorter than it was written")
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def temporary_for(path: Path) -> Path:
    """Return a name beside `path` that nobody else writes to, and that `sweep` understands."""
    name = f"{path.stem[:16]}.{secrets.token_hex(4)}.{os.getpid()}.{HOST}.tmp"
    return path.with_name(name)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, and sync what names it; nothing if it is there."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    if os.name != "posix":  # Windows cannot open a folder, and keeps its renames in a journal
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(temporaries: Iterable[Path]) -> None:
    """Remove those of the `*.tmp` files whose writers were killed."""
    for temporary in temporaries:
        with contextlib.suppress(OSError):
            if _is_dead(temporary):
                temporary.unlink()


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine runs; true where there is no harmless way to ask."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def is_abandoned(path: Path, process: int | None) -> bool:
    """Tell whether nobody writes a temporary file or folder any more.

    `process` began it, on this machine; None where that is not known.
    """
    if process is not None and not is_alive(process):
        return True
    # A process may have the id of a dead one by now, and one of another machine cannot be asked:
    # then the age tells, of what was written last. A write takes moments.
    newest = max(written.stat().st_mtime for written in (path, *path.rglob("*")))
    return time.time() - newest > _DAY


def _is_dead(temporary: Path) -> bool:
    """Tell whether nobody writes a temporary file any more, by the process that its name gives.

    A name that `temporary_for` does not give is somebody else's file.
    """
    match temporary.name.removesuffix(".tmp").split(".", 3):
        case [_, token, process, host] if _TOKEN.fullmatch(token) and process.isdecimal():
            return is_abandoned(temporary, int(process) if host == HOST else None)
    return False
