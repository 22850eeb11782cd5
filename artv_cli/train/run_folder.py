"""The folder of one training: what lies in it, and which one may be used."""

from __future__ import annotations

from pathlib import Path

from artv_cli.errors import UsageError

STATE, MODEL, LORA = "state.safetensors", "model", "lora"


def require_own(out: Path, base: Path) -> None:
    """Raise UsageError where a run would overwrite its base, or a folder that no run has made."""
    for target in (out / MODEL, out / LORA):
        if base.resolve().is_relative_to(target.resolve()):
            raise UsageError(
                f"--out {out} would write over {base}, the model that training begins with.",
                "Name another --out.",
            )
        if target.exists() and not (out / STATE).exists():
            raise UsageError(
                f"{target} is there already, and no training has made it: {STATE} is missing.",
                "Name a new or an empty --out.",
            )
