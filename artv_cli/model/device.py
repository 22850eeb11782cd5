"""Where networks run: the device that a user names, or the best that there is."""

from __future__ import annotations

import torch

from artv_cli.errors import UsageError


def resolve_device(name: str) -> str:
    """Return a device's name for torch, "auto" being the first of cuda, mps, cpu that there is.

    Raises UsageError if there is none of that name.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()  # there, and one that holds values
    except Exception as error:  # each of torch's backends fails in its own way
        raise UsageError(
            f"there is no device {name!r} here: {str(error).splitlines()[0]}",
            "Leave --device out to take the best there is, or say cpu.",
        ) from None
    return name
