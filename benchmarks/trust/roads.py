"""The roads on which artv reads models that somebody made: for films, for pictures, as a base."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from artv_cli.errors import ArtvError
from artv_cli.model.folder import find_model
from artv_cli.model.text_to_image import find_text_to_image
from artv_cli.storybook.vocabulary import read_vocabulary
from benchmarks.trust.limits import limited
from benchmarks.trust.proof import expect

MAX_SECONDS = 20.0  # of processor time
MAX_MEGABYTES = 500  # the models are of some ten


class Road(NamedTuple):
    """A kind of model: a whole one, what artv does with it, and where the loaders are called."""

    model: Path
    load: Callable[[Path], object]
    loaders: tuple[Any, ...]


def roads(folder: Path) -> dict[str, Road]:
    """Write a tiny model of each kind and return its road, by name."""
    from tiny import tiny_folder
    from tiny_base import tiny_base

    from artv_cli import pipeline_engine
    from artv_cli.artv_engine import load_engine
    from artv_cli.model import initial
    from artv_cli.model import weights as loading
    from artv_cli.model.base import find_base
    from artv_cli.pipeline_engine import load_pipeline

    def film(model: Path) -> None:
        found = find_model(str(model))
        read_vocabulary(found)
        load_engine(found, device="cpu")

    def pictures(model: Path) -> None:
        load_pipeline(find_text_to_image(str(model)), device="cpu", size=(64, 64))

    def base(model: Path) -> None:
        found = find_base(str(model))
        initial.write_initial_model(found, model.with_name("made"), size=found.size)

    tiny_base(pipeline := folder / "pipeline")
    return {
        "film": Road(tiny_folder(folder), film, (loading,)),
        "pictures": Road(pipeline, pictures, (pipeline_engine,)),
        "base": Road(pipeline, base, (initial,)),
    }


def load(road: Road, copy: Path, what: str) -> None:
    """Raise AssertionError, naming `what`, unless a copy loads or one sentence says why not."""
    with limited(what, seconds=MAX_SECONDS, megabytes=MAX_MEGABYTES):
        try:
            road.load(copy)
        except ArtvError as error:
            expect(error.message and "\n" not in error.message, f"{what}: {error.message!r}")
            expect(error.remedy, f"{what}: no remedy")
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


def copied(model: Path, place: Path) -> Path:
    """Copy a model, to damage it."""
    copy = place / "model"
    shutil.copytree(model, copy)
    return copy
