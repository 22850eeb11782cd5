"""A folder for one process at a time: the system frees its native lock when the holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from artv_cli.errors import CacheLocked
from artv_cli.files.output import storage_errors


@contextmanager
def alone(lock: Path, told: str) -> Iterator[None]:
    """Hold the lock at `lock`, whose folder is there.

    Raises CacheLocked, with the sentence `told`, while another process holds it; StorageError.
    """
    native = FileLock(lock, timeout=0)
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
