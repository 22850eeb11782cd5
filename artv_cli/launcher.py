"""How artv was started: by itself, or as one of the processes of a launcher."""

from __future__ import annotations

import os


def is_first() -> bool:
    """Tell whether this is the process that speaks for all that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def program() -> str:
    """Return how artv was called: by itself, or by a launcher of several processes.

    OPTIONS stands for what a launcher was told that its processes cannot see.
    """
    if "ACCELERATE_MIXED_PRECISION" in os.environ:  # which `accelerate launch` always sets
        return "accelerate launch OPTIONS -m artv_cli"
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return "artv"
    is_one_machine = os.environ.get("GROUP_WORLD_SIZE") == "1"
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    how = f"--nproc-per-node {processes}" if is_one_machine else "OPTIONS"
    return f"torchrun {how} -m artv_cli"
