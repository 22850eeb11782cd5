"""Every call to the file system that concerns one folder, to fail it or to die around it."""

from __future__ import annotations

import builtins
import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

_OF_OS = (
    "access", "fstat", "fsync", "ftruncate", "listdir", "lstat", "mkdir", "open", "readlink",
    "rename", "replace", "rmdir", "scandir", "stat", "unlink", "utime",
)  # fmt: skip
CALLS = (*((os, name) for name in _OF_OS), (io, "open"), (builtins, "open"))

Act = Callable[[int, str, bool], None]
"""Gets a call's number, its name, and whether it is about to happen (or has happened)."""


@contextmanager
def around_calls(folder: Path, act: Act) -> Iterator[Callable[[], int]]:
    """Have `act` called around every call that concerns `folder`; yield what counts them."""
    watch = _Watch(os.path.realpath(folder), act)
    with ExitStack() as stack:
        for owner, name in CALLS:
            original = getattr(owner, name)
            wrapped = watch.wrapped(name, original)
            stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield lambda: next(watch.numbers)


class _Watch:
    def __init__(self, folder: str, act: Act) -> None:
        self.numbers = itertools.count()
        self._folder = folder
        self._act = act
        self._readlink = os.readlink

    def wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._concerns(args[0] if args else None, kwargs.get("dir_fd")):
                return original(*args, **kwargs)
            result = self.watched(name, lambda: original(*args, **kwargs))
            return _WatchedFile(result, self) if isinstance(result, io.IOBase) else result

        return call

    def watched(self, name: str, call: Callable[[], Any]) -> Any:
        number = next(self.numbers)
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


class _WatchedFile:
    """An open file whose reads and writes are calls as well."""

    def __init__(self, file: Any, watch: _Watch) -> None:
        self._file = file
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._file, name)
        if name not in ("read", "readline", "readinto", "write"):
            return attribute
        return lambda *args: self._watch.watched(name, lambda: attribute(*args))

    def __enter__(self) -> _WatchedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)
