"""Every call to the file system that concerns one folder, to fail it or to die around it."""

from __future__ import annotations

import builtins
import fcntl
import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from artv_cli.files import exchange

_OF_OS = (
    "access", "close", "fstat", "fsync", "ftruncate", "listdir", "lstat", "mkdir", "open",
    "readlink", "rename", "replace", "rmdir", "scandir", "stat", "unlink", "utime",
)  # fmt: skip
_OF_FILES = ("read", "readline", "readinto")
_OF_WRITTEN_FILES = ("write", "flush", "seek", "truncate")  # each may be when the bytes go out
_TO_WRITE = " to write"
_CHANGING = frozenset({"exchange", "fsync", "ftruncate", "mkdir", "rename", "replace"})
CALLS = (
    *((os, name) for name in _OF_OS), (fcntl, "flock"), (io, "open"), (builtins, "open"),
    (exchange, "exchange"),
)  # fmt: skip

Act = Callable[[int, str, bool], None]
"""Gets a call's number, its name, and whether it is about to happen (or has happened)."""


@contextmanager
def around_calls(folder: Path, act: Act) -> Iterator[None]:
    """Have `act` called around every call that concerns `folder`."""
    watch = _Watch(os.path.realpath(folder), act)
    with ExitStack() as stack:
        for owner, name in CALLS:
            original = getattr(owner, name)
            wrapped = watch.wrapped(name, original)
            stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield


def takes_room(name: str) -> bool:
    """Tell whether a call of this name may find that the disk is full."""
    return name in _CHANGING or name.endswith(_TO_WRITE)


class _Watch:
    def __init__(self, folder: str, act: Act) -> None:
        self._numbers = itertools.count()
        self._folder = folder
        self._act = act
        self._readlink = os.readlink

    def wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._concerns(args[0] if args else None, kwargs.get("dir_fd")):
                return original(*args, **kwargs)
            full_name = name + _TO_WRITE * (name == "open" and _writes(*args[1:2], **kwargs))
            result = self.watched(full_name, lambda: original(*args, **kwargs))
            return _WatchedFile(result, self) if isinstance(result, io.IOBase) else result

        return call

    def watched(self, name: str, call: Callable[[], Any]) -> Any:
        number = next(self._numbers)
        self._act(number, name, True)
        try:
            return call()
        finally:
            self._act(number, name, False)

    def _concerns(self, target: Any, dir_fd: int | None) -> bool:
        if isinstance(target, int):
            path = self._path_of(target)
        elif isinstance(target, str | bytes | os.PathLike):
            path = os.fsdecode(target)
            if dir_fd is not None:
                path = f"{self._path_of(dir_fd)}/{path}"
        else:
            return False
        return f"{os.path.abspath(path)}/".startswith(f"{self._folder}/")

    def _path_of(self, descriptor: int) -> str:
        try:
            return self._readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            return "/"


def _writes(mode: str | int = "r", *, flags: int = 0, **_: Any) -> bool:
    """Tell whether a file is opened to be written, by a mode such as "xb" or by flags."""
    if isinstance(mode, str):
        return bool(set("wxa+") & set(mode) or flags)
    return bool(mode & (os.O_WRONLY | os.O_RDWR))


class _WatchedFile:
    """An open file whose reads and writes are calls as well, and so is its end."""

    def __init__(self, file: Any, watch: _Watch) -> None:
        self._file = file
        self._watch = watch
        self._suffix = _TO_WRITE if file.writable() else ""
        self._watched = (*_OF_FILES, *(_OF_WRITTEN_FILES if file.writable() else ()))

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._file, name)
        if name not in self._watched:
            return attribute
        return lambda *args: self._watch.watched(name + self._suffix, lambda: attribute(*args))

    def close(self) -> None:
        try:
            self._watch.watched("close" + self._suffix, self._file.close)
        finally:
            self._file.close()  # one that fails leaves nothing open all the same

    def __enter__(self) -> _WatchedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> _WatchedFile:
        return self

    def __next__(self) -> Any:
        return self._watch.watched("next", lambda: next(self._file))
