"""A model's networks, loaded when the first frame must be drawn and not before."""

from __future__ import annotations

from artv_cli.engine import Engine
from artv_cli.latents import Dtype
from artv_cli.model.folder import ModelFolder
from artv_cli.observer import Observer
from artv_cli.settings import Offload


def open_engine(
    model: ModelFolder,
    observer: Observer,
    device: str | None = None,
    dtype: Dtype | None = None,
    variant: str | None = None,
    *,
    offload: Offload = "none",
    size: tuple[int, int] | None = None,
) -> Engine:
    """Load a model's networks: by default where they run best, in the precision it likes."""
    observer.loading(model.name)
    from artv_cli.artv_engine import load_engine  # torch comes with it

    return load_engine(
        model,
        device=device or "auto",
        dtype=dtype,
        variant=variant,
        offload=offload,
        size=size,
        warn=observer.warn,
    )
