"""Everything that artv can tell a user went wrong, as one tree.

::

    ArtvError                   the work failed
    ├── UsageError              an option, a setting or an argument cannot be used
    │   ├── DocumentError       a YAML file has problems: all of them, with their places
    │   │   └── StoryboardError     the one that has them is a storyboard
    │   └── ImageError          an input image is missing, unreadable, too large or out of bounds
    ├── ModelError              a model is missing, incomplete or of another kind
    ├── CacheLocked             another process works in the same cache or folder
    ├── StorageError            no space left, or a folder that cannot be written
    ├── EncodeError             ffmpeg failed or wrote something else than was asked
    └── RenderError             a network produced something that is not a picture

    KeyboardInterrupt
    └── Interrupted             asked to stop, the work did so when all that it had was kept

Each message says what is wrong and where; `remedy` says what to do about it. Exit codes are
given in one place only: `artv_cli.cli`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


class ArtvError(Exception):
    """A failure that the user can understand: one sentence, and what to do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class Interrupted(KeyboardInterrupt):
    """The work was asked to stop, and did so at a good moment: one sentence says what is kept."""


class UsageError(ArtvError):
    """An option, a setting or an argument cannot be used."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in a YAML file: where it stands (1-based line and column) and what it is."""

    line: int
    column: int
    message: str


class DocumentError(UsageError):
    """A YAML file that cannot be used, with every problem found in it."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems))
        super().__init__(
            "\n".join(f"{name}:{p.line}:{p.column}: {p.message}" for p in self.problems)
        )


class StoryboardError(DocumentError):
    """A storyboard that cannot be used."""


class ImageError(UsageError):
    """An input image is missing, unreadable, too large or lies outside the storyboard's folder."""


class ModelError(ArtvError):
    """A model is missing, incomplete, or of a kind that artv does not read."""


@contextmanager
def model_named_at(place: str) -> Iterator[None]:
    """Put the place where a model is named, as in a storyboard, before what is wrong with it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(place + error.message, error.remedy) from error


class CacheLocked(ArtvError):
    """Another process is at work in the same cache, or in the same output folder."""


class StorageError(ArtvError):
    """There is no space left, or a folder cannot be written."""


class EncodeError(ArtvError):
    """The video encoder failed, or wrote something else than was asked."""


class RenderError(ArtvError):
    """The model produced values that are no picture."""
