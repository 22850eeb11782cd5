"""The folder of one training: which one may be used, and by one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from artv_cli.errors import UsageError
from artv_cli.files import lock
from artv_cli.files.durable import sweep
from artv_cli.files.output import storage_errors

STATE, MODEL, LORA = "state.safetensors", "model", "lora"


@dataclass(frozen=True)
class Outcome:
    """What a run came to: steps and examples of all runs so far, and the model folder, if any."""

    step: int
    samples: int
    model: Path | None


def require_own(out: Path, base: Path | None, mark: str = STATE) -> None:
    """Raise UsageError where a run would overwrite its base, or a folder that no run has made.

    `mark`: the file by which a run's folder is known.
    """
    for target in (out / MODEL, out / LORA):
        if base is not None and base.resolve().is_relative_to(target.resolve()):
            raise UsageError(
                f"--out {out} would write over {base}, the model that training begins with.",
                "Name another --out.",
            )
        if target.exists() and not (out / mark).exists():
            raise UsageError(
                f"{target} is there already, and no training has made it: {mark} is missing.",
                "Name a new or an empty --out.",
            )


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder, and remove what killed ones left half written.

    Raises CacheLocked while another process trains there, StorageError.
    """
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with lock.alone(out / ".lock", f"Another process trains in {out}."):
        sweep(out.glob("*.tmp"))
        yield
