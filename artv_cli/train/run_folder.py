"""The folder of one training: which one may be used, and by one run at a time."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from artv_cli.errors import StorageError, UsageError
from artv_cli.files import lock
from artv_cli.files.durable import commit, sweep
from artv_cli.files.output import storage_errors, write_text
from artv_cli.train.parallel import agree

STATE, MODEL, LORA = "state.safetensors", "model", "lora"
# As `temporary_for` names them, also in the folders of a training's pieces.
_HALF_STATES = [
    f"{piece}{state}.{'[0-9a-f]' * 8}.*.tmp"
    for piece in ("", "*/")
    for state in ("state", "training")
]
LOG = "log.jsonl"


@dataclass(frozen=True)
class Outcome:
    """What a run came to: steps and examples of all runs so far, and the model folder, if any."""

    step: int
    samples: int
    model: Path | None


def claim(file: Path, begun: Mapping[str, Any]) -> list[str]:
    """Write what a folder is begun with into `file`, or return what is other than stands there."""
    if not file.exists():
        write_text(file, json.dumps(dict(begun)))
        return []
    there = json.loads(file.read_text())
    return [name for name in begun if there.get(name) != begun[name]]


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


def require_shared(out: Path, step: int | None, device: torch.device) -> None:
    """Raise UsageError where the processes go on from different steps; each must call.

    `step`: the one of the state that this process found in `out`, if any; `device`: where they
    talk.
    """
    own = -1 if step is None else step
    first, last = -int(agree(-own, device)), int(agree(own, device))
    if first != last:
        raise UsageError(
            f"the processes would go on from different steps, {'none' if first < 0 else first} to"
            f" {last}: not all of them see the same {out}",
            f"Put --out on a disk that all machines share, with {STATE} of step {last} in it.",
        )


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line of JSON to a file of a run; raises StorageError."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def cut_log(out: Path, step: int) -> None:
    """Take out of a run's log what a kill left there: steps beyond the state's, and half a line.

    Those steps are taken, and told of, again. Raises StorageError.
    """
    path = out / LOG
    with storage_errors(path):
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _is_row(line, step)]
        if kept != lines:
            commit(path, b"".join(kept))


def require_room(out: Path, state: int) -> None:
    """Raise StorageError where states of so many bytes would fill the disk of a run folder.

    A state is written beside the one before, so for a while there are two.
    """
    with storage_errors(out):
        free = shutil.disk_usage(out).free
    more = 1 if (out / STATE).exists() else 2
    if free < more * state:
        raise StorageError(
            f"states of this training take {state / 1e9:.1f} GB each, a new one stands beside the"
            f" last for a while, and {out} has room for {free / 1e9:.1f} GB",
            f"Free some space, or take an --out with room for {more * state / 1e9:.1f} GB.",
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
        # Nobody else writes states here now, whatever process a name tells of: in a container
        # its number may be anybody's again, the host has another name, and a state takes gigabytes.
        for half in itertools.chain.from_iterable(map(out.glob, _HALF_STATES)):
            with suppress(OSError):
                half.unlink()
        yield


def _is_row(line: bytes, last: int) -> bool:
    """Tell whether a line of a log is whole, and of no step beyond the last."""
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.get("step", 0) <= last and line.endswith(b"\n")
