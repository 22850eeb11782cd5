"""Reading a file that somebody names, which may be anything: a pipe, a device, a terabyte."""

from __future__ import annotations

import difflib
import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from artv_cli.errors import UsageError

_FAILING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO}


def read_input(path: Path, limit: int, wrong: type[UsageError] = UsageError) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes, read once.

    Devices, pipes and sockets are never opened. Raises `wrong` in one sentence otherwise.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise wrong(f"{path} is not a file that can be read.", "Name a regular file.")
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise wrong(f"There is no file {path}.", _nearby(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not one"
        raise wrong(f"{path} cannot be read: {reason}.", "Check its name and rights.") from error
    if len(data) > limit:
        raise wrong(f"{path} is larger than {limit / 1e6:g} MB.", "Make it smaller.")
    return data


def raise_if_failing(error: BaseException) -> None:
    """Raise what lies behind an error where that is a failing disk: it says nothing of a file."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in _FAILING:
        raise cause


def open_file(path: Path) -> BufferedReader:
    """Open a regular file of any size; OSError for what is none, and may have no end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    return path.open("rb")


def _nearby(path: Path) -> str:
    """Return a hint that names the file most like `path` in its folder."""
    try:
        names = [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        return f"There is no folder {path.parent} either."
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / near[0]}?" if near else "Check its name."
