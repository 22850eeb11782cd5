"""From exception to sentence to next command: one table for all that can go wrong.

`errors` holds what artv itself found wrong: such an error brings its own sentence, and mostly its
own remedy, since the place that raises it knows best; the table has the remedy of its class for
where it does not. What a library or the system raised gets both from the table. A class that is
not in the table is told as the nearest one above it; the last row is for what nobody expected.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from artv_cli import errors
from artv_cli.errors import ArtvError
from artv_cli.files.durable import NO_SPACE
from artv_cli.launcher import program

_NO_SPACE = "no space"  # OSErrors that have no class of their own
_PRUNE = "`artv cache prune --max-size 2GB --cache FOLDER`"  # nobody here knows which is full


@dataclass(frozen=True)
class Row:
    """How one kind of exception is told.

    `sentence` may hold {message}, what the exception says; {file}, which file it names; {kind},
    its class. `remedy` may hold {again}, the command that was run, and ends in a command to type.
    `counts_as` is the class whose exit code ends the program.
    """

    sentence: str
    remedy: str
    counts_as: type[BaseException]


@dataclass(frozen=True)
class Message:
    """What a person hears of an exception: what, where, and what to do about it."""

    sentence: str
    remedy: str
    counts_as: type[BaseException]

    def __str__(self) -> str:
        return f"{self.sentence}\n  {self.remedy}" if self.remedy else self.sentence


def _own(kind: type[ArtvError], remedy: str) -> tuple[str, Row]:
    return _name(kind), Row("{message}", remedy, kind)


def _name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


TABLE: Mapping[str, Row] = dict(
    [
        _own(errors.DocumentError, "Correct it there, then type `{again}`."),
        _own(errors.StoryboardError, "Correct it there; `artv schema` says what may stand where."),
        _own(errors.ImageError, "Name another picture; `artv check FILE` looks at them all."),
        _own(errors.UsageError, "See what can be said: `artv --help`."),
        _own(errors.ModelError, "See which models there are: `artv models ls`."),
        _own(errors.CacheLocked, "Wait until it is done, then type the same again: `{again}`."),
        _own(errors.StorageError, f"Make room, {_PRUNE}, or free the disk."),
        _own(errors.EncodeError, "Frames are kept; see whether ffmpeg runs: `artv doctor`."),
        _own(errors.RenderError, "Frames before it are kept; try `{again} --dtype float32`."),
        _own(errors.ArtvError, "Facts to ask with: `artv doctor`."),
        (
            "builtins.KeyboardInterrupt",
            Row("stopped; what was finished is kept", "To go on:\n  {again}", KeyboardInterrupt),
        ),
        (
            _name(errors.Interrupted),
            Row("{message}", "To go on:\n  {again}", KeyboardInterrupt),
        ),
        (
            _NO_SPACE,
            Row(
                "no space is left for {file}",
                f"Free some, {_PRUNE} helps, and type `{{again}}`.",
                errors.StorageError,
            ),
        ),
        (
            "builtins.PermissionError",
            Row(
                "{file} may not be read or written: {message}",
                "Change its rights, or name another with -o or --cache: `artv doctor`.",
                errors.StorageError,
            ),
        ),
        (
            "builtins.FileNotFoundError",
            Row(
                "{file} is not there, or no longer",
                "Put it back, then type the same again: `{again}`.",
                ArtvError,
            ),
        ),
        (
            "builtins.OSError",
            Row(
                "the system failed at {file}: {message}",
                "Finished frames are kept: once it works again, type `{again}`.",
                ArtvError,
            ),
        ),
        (
            "torch.OutOfMemoryError",
            Row(
                "the device has no memory left: {message}",
                "Finished frames are kept. Close other programs, or let parts of the model wait in"
                " main memory, which changes no frame: `{again} --offload model`, and if that is"
                " not enough, --offload sequential.",
                ArtvError,
            ),
        ),
        (
            "builtins.MemoryError",
            Row(
                "this machine has no memory left {message}",
                "Finished frames are kept; close other programs, then type `{again}`.",
                ArtvError,
            ),
        ),
        (
            "builtins.ImportError",
            Row(
                "a part of artv's installation cannot be loaded: {message}",
                "Install artv again; `artv doctor` says what is there.",
                ArtvError,
            ),
        ),
        (
            "builtins.BaseException",
            Row(
                "something unexpected happened ({kind}: {message})",
                "See where, with --debug: `{again} --debug`.",
                ArtvError,
            ),
        ),
    ]
)
"""By full name of the class, so that no library must be loaded to be told of."""


def message(error: BaseException, again: str) -> Message:
    """Return how an exception is told; `again` is the command that was run."""
    row = next(TABLE[name] for name in _names(error) if name in TABLE)
    said = _said(error)
    known = {"message": said, "file": _file(error), "kind": type(error).__name__}
    sentence = row.sentence.format_map(known)
    if not said:
        sentence = sentence.replace(": )", ")").strip().removesuffix(":")
    remedy = getattr(error, "remedy", "") or row.remedy.format_map({"again": again})
    return Message(sentence, remedy, row.counts_as)


def same_command() -> str:
    """Return what a person types to run this again: a second run goes on where this one stopped."""
    arguments = sys.argv[1:]
    again = f"{program()} {shlex.join(arguments)}".rstrip()
    return f"{again} < STORYBOARD" if "-" in arguments else again


def _names(error: BaseException) -> Iterator[str]:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        yield _NO_SPACE
    yield from map(_name, type(error).__mro__)


def _said(error: BaseException) -> str:
    """Return what an exception says: all of our own, of a library's the first line."""
    if isinstance(error, ArtvError):
        return error.message
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text.strip().partition("\n")[0][:300]


def _file(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return "a file" if name is None else str(name)
