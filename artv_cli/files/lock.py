"""Native locks, which the system frees when their holder dies: for one process, or shared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from artv_cli.errors import CacheLocked
from artv_cli.files.output import storage_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone(lock: Path, told: str) -> Iterator[None]:
    """Hold the lock at `lock`, whose folder is there.

    Raises CacheLocked, with the sentence `told`, while another process holds it; StorageError.
    """
    native = FileLock(lock, timeout=0)  # where there are no native locks, a file that stands there
    with storage_errors(lock.parent):
        try:
            native.acquire()
        except Timeout:  # an OSError too
            raise CacheLocked(told, "Wait until it is done, or name another --out.") from None
    try:
        yield
    finally:
        with suppress(OSError):  # the system frees it when this process ends
            native.release()


def exclusive(lock: Path) -> BaseFileLock:
    """Return the lock at `lock`, to be had at once or not.

    Its `acquire` raises Timeout while somebody has it, and OSError where there are no locks: a
    file that says by being there that it is locked would outlive its holder.
    """
    return FileLock(lock, timeout=0, fallback_to_soft=False)


@contextmanager
def shared(lock: Path) -> Iterator[None]:
    """Hold the lock at `lock` together with whoever shares it, so that nobody has it alone.

    Raises Timeout while somebody has it alone, OSError where it cannot be had. Windows cannot
    share a lock: there one process has it.
    """
    if fcntl is None:
        with exclusive(lock):
            yield
        return
    descriptor = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Timeout(str(lock)) from None
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)
