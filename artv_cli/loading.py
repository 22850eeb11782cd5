"""Networks, loaded when the first frame must be drawn and not before."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from artv_cli.engine import Engine, PictureEngine
from artv_cli.latents import Dtype
from artv_cli.model.folder import ModelFolder
from artv_cli.model.text_to_image import TextToImageFolder
from artv_cli.observer import Observer
from artv_cli.plan import RenderPlan
from artv_cli.settings import Offload, Settings


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


@dataclass(frozen=True)
class Loaders:
    """How what draws a story is loaded, when it is needed, as `render` calls it."""

    engine: Callable[[], Engine]
    picture_engine: Callable[[str], PictureEngine]


def loaders(
    model: ModelFolder,
    pictured: Iterable[TextToImageFolder],
    plan: RenderPlan,
    settings: Settings,
    observer: Observer,
) -> Loaders:
    """Return how to load the model of a plan, once, and the text-to-image models `pictured`.

    The observer hears of each picture before it is drawn.
    """
    folders = {folder.fingerprint: folder for folder in pictured}
    device, offload = settings.device, settings.offload or "none"

    @functools.cache
    def engine() -> Engine:
        return open_engine(
            model,
            observer,
            device,
            plan.dtype,
            settings.variant,
            offload=offload,
            size=plan.size,
        )

    def picture_engine(fingerprint: str) -> PictureEngine:
        observer.loading(folders[fingerprint].name)
        from artv_cli.pipeline_engine import load_pipeline  # torch comes with it

        return load_pipeline(
            folders[fingerprint],
            device=device or "auto",
            dtype=plan.dtype,
            offload=offload,
            size=plan.size,
            drawing=observer.drawing,
            warn=observer.warn,
        )

    return Loaders(engine, picture_engine)


def open_environment(device: str | None) -> Mapping[str, str]:
    """Return what can change the last bit of a frame that is drawn here; no model is loaded."""
    from artv_cli.machine import environment, resolve_device  # torch comes with it

    return environment(resolve_device(device or "auto"))
