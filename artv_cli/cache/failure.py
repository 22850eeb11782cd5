"""What is said when a cache fails: where, and the command that helps that cache and no other."""

from __future__ import annotations

import shlex
from pathlib import Path

from artv_cli.errors import StorageError
from artv_cli.files.durable import DENIED, NO_SPACE


def command(what: str, root: Path) -> str:
    """Return `artv cache <what>` for the cache at `root`, as a shell takes it, in backticks."""
    return f"`artv cache {what} --cache {shlex.quote(str(root))}`"


def storage_error(root: Path, error: OSError) -> StorageError:
    """Return how a failure to write to the cache at `root` is told."""
    if error.errno in NO_SPACE:
        return StorageError(
            f"no space is left for frames in {root}",
            f"Free some space ({command('prune --max-size 2GB', root)} helps) and run the same"
            " command again: every finished frame is kept.",
        )
    if error.errno in DENIED:
        return StorageError(
            f"the cache {root} cannot be written",
            "Choose another folder with --cache; a cache that cannot be written only serves"
            " the frames that it has.",
        )
    return StorageError(
        f"writing to the cache {root} failed: {reason(error)}",
        "Choose another folder with --cache, or run the same command again.",
    )


def reason(error: Exception) -> str:
    """Return what an exception says, without its number or its remedy."""
    strerror = getattr(error, "strerror", None)
    return strerror or getattr(error, "message", None) or str(error)
