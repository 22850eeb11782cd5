"""One renderer for each cache: a native lock, which the system frees when its holder dies."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from artv_cli.errors import CacheLocked
from artv_cli.files.durable import HOST, commit


class CacheLock:
    """The lock of the cache at `root`.

    `lock` is what is locked; `lock.json` says by whom and is true only while it is: a file that a
    dead holder left behind keeps nobody out, nor does another process with the same id.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = FileLock(root / "lock", timeout=0)
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
