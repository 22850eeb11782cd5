"""Who uses a cache: one process renders, any number read, and none does while frames are removed.

Native locks all: the system frees them when their holder dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from artv_cli.errors import CacheLocked, StorageError
from artv_cli.files.durable import HOST, commit
from artv_cli.files.lock import exclusive, shared


class CacheLock:
    """The locks of the cache at `root`.

    `lock` is held by the one that renders, `readers` is shared by those that only read, and who
    removes frames holds both. `lock.json` says who holds the first and is true only while it is
    held: a file that a dead holder left behind keeps nobody out, nor does another process with
    the same id.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = exclusive(root / "lock")
        self._readers = root / "readers"
        self._name_tag = root / "lock.json"

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock, or raise CacheLocked at once, naming the process that holds it.

        Nested calls are free. Where the lock cannot be had for want of rights, or on a network
        drive without locks, the work goes on: renames alone keep every entry whole.
        """
        if self._lock.is_locked or not self._acquire():
            yield
            return
        try:
            with contextlib.suppress(OSError):  # the lock holds without its name tag, too
                commit(self._name_tag, json.dumps(_this_process()).encode())
            yield
        finally:
            with contextlib.suppress(OSError):
                self._name_tag.unlink()
            with contextlib.suppress(OSError):  # the system frees it when this process ends
                self._lock.release()

    @contextlib.contextmanager
    def share(self) -> Iterator[None]:
        """Keep every frame where it is, or raise CacheLocked at once if they are being removed.

        Where the lock cannot be had, as in a cache that cannot be written, the work goes on.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(shared(self._readers))
            except Timeout:
                raise CacheLocked(
                    f"{self._holder()} is removing frames from {self._root}",
                    "Wait until it is done, then run the same command again.",
                ) from None
            except OSError:
                pass
            yield

    @contextlib.contextmanager
    def empty(self) -> Iterator[None]:
        """Inside `hold`, keep readers out as well: what a story needs may go.

        Raises CacheLocked while others read, and StorageError where either lock cannot be had:
        without them nobody knows whether a story is in use.
        """
        with contextlib.ExitStack() as held:
            try:
                if not self._lock.is_locked:
                    raise OSError("the lock cannot be had")
                held.enter_context(exclusive(self._readers))
            except Timeout:
                raise CacheLocked(
                    f"another process makes a film from the frames in {self._root}",
                    "Wait until it is done, then run the same command again.",
                ) from None
            except OSError:
                raise StorageError(
                    f"{self._root} cannot be locked, so nobody can tell whether a story there is"
                    " in use, and nothing is removed",
                    "Once nothing renders or exports there, delete the folder itself.",
                ) from None
            yield

    def _acquire(self) -> bool:
        try:
            self._lock.acquire()
        except Timeout:
            raise CacheLocked(
                f"{self._holder()} is rendering into {self._root}",
                "Wait until it is done or stop it, or choose another folder with --cache.",
            ) from None
        except OSError:
            return False
        return True

    def _holder(self) -> str:
        try:
            tag = json.loads(self._name_tag.read_bytes())
            return f"process {tag['pid']} on {tag['host']}, started {tag['started']},"
        except (OSError, ValueError, LookupError, TypeError):
            return "another process"


def _this_process() -> dict[str, str | int]:
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": HOST, "started": started}
