"""Render settings: what a person may set, where each value came from, and what decides the bits.

Sources, the first that says a value wins: flag > segment > storyboard > `ARTV_*` > the project's
`artv.toml` > the user's `config.toml` > the model's own default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from artv_cli.latents import Dtype
from artv_cli.quantities import Bytes, Rate, Size
from artv_cli.scalars import Choice, Folder, Pattern, Switch, Whole
from artv_cli.setting_tables import (
    ALL_TIMESTEPS,
    REVISION,
    TABLES,
    VARIANT,
    Frozen,
    GuidancePlace,
    GuidanceSettings,
    KeyFrameSettings,
    Name,
)

SamplerName = Literal["dpmpp_2s_ancestral", "dpmpp_2m", "euler"]
Offload = Literal["none", "model", "sequential"]
StaticNoise = Literal["exact", "input_minus_reference", "reference_minus_input"]

_PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """The scales of Eq. 8 and the place of guidance: on the composed prediction, as in the paper,
    or on the dynamic part alone, so that what is copied is never guided.

    `rescale` (0-1) is the share of the added deviation that is taken back (arXiv 2305.08891, Sec.
    3.4); `interval` holds the lowest and the highest timestep that are guided (arXiv 2404.07724).
    """

    text: float
    reference: float
    anchor: float
    on: GuidancePlace
    rescale: float = 0.0
    interval: tuple[int, int] = ALL_TIMESTEPS


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one frame is drawn, complete: everything here decides the frame's bits.

    `noise_level` (0-999) is the timestep to which references and anchor are noised (Sec. 3.3).
    """

    sampler: SamplerName
    steps: int
    guidance: Guidance
    noise_level: int


class DrawSettings(Frozen):
    """Settings that may change from segment to segment: how the frames are drawn."""

    seed: Annotated[int, Whole(0, 2**63 - 1)] | None = Field(
        default=None, description="Decides the noise: another seed is another film."
    )
    steps: Annotated[int, Whole(1, 1000)] | None = Field(
        default=None, description="Sampling steps for each frame: more is slower and finer."
    )
    sampler: Annotated[SamplerName, Choice(get_args(SamplerName))] | None = Field(
        default=None, description="How the noise is taken away."
    )
    noise_level: Annotated[int, Whole(0, 999)] | None = Field(
        default=None,
        description="How far references and anchor are noised, as a timestep (paper: 200).",
    )
    guidance: GuidanceSettings | None = Field(
        default=None, description="How strongly each condition pulls."
    )
    key_frame: KeyFrameSettings | None = Field(
        default=None, description="Another model draws the key frames: one from text to image."
    )


class FilmSettings(DrawSettings):
    """Settings that a storyboard may hold: those of a segment and those of the whole film."""

    model: Name | None = Field(
        default=None, description="The embedded model's name, a model folder, or a hub id."
    )
    revision: Name | None = REVISION
    variant: Name | None = VARIANT
    dtype: Annotated[Dtype, Choice(get_args(Dtype), _PRECISIONS)] | None = Field(
        default=None, description="Precision of the networks."
    )
    device: (
        Annotated[
            str, Pattern("(auto|cpu|mps|cuda(:[0-9]{1,3})?)", "auto, cpu, cuda, cuda:1 or mps")
        ]
        | None
    ) = Field(default=None, description="Where the networks run: cpu, cuda, cuda:1, mps.")
    offload: Annotated[Offload, Choice(get_args(Offload))] | None = Field(
        default=None,
        description="What waits in main memory: none, model (whole parts) or sequential (layers).",
    )
    size: Annotated[tuple[int, int], Size(8, 8192)] | None = Field(
        default=None,
        description="Width and height of the film in pixels; left out: the model's own.",
    )
    fps: Annotated[Fraction, Rate()] | None = Field(default=None, description="Frames a second.")
    strict: Annotated[bool, Switch()] | None = Field(
        default=None, description="Draw again what another environment has drawn."
    )


class Settings(FilmSettings):
    """Everything that a person may set; None means not said."""

    cache: Annotated[Path, Folder()] | None = Field(
        default=None, description="Folder that keeps frames."
    )
    max_cache_size: Annotated[int, Bytes()] | None = Field(
        default=None,
        description="How large the cache may be: beyond it, stories used longest ago are removed.",
    )


@dataclass(frozen=True)
class Sourced:
    """A setting's value, and the name of the layer that said it."""

    value: object
    source: str


def merge(*layers: Settings) -> Settings:
    """Return the settings of all layers together: the first that says a value wins.

    Guidance is merged field by field, a model with what is said of it: see `explain`.
    """
    winners = explain({str(rank): layer for rank, layer in enumerate(layers)})
    return Settings.model_validate(nested({name: one.value for name, one in winners.items()}))


def less(settings: Settings, over: Settings) -> Settings:
    """Return what settings say that a stronger layer leaves open, field by field as in `merge`."""
    decided = dict(_said(over))
    return Settings.model_validate(
        nested({name: value for name, value in _said(settings) if name not in decided})
    )


def explain(layers: Mapping[str, Settings]) -> dict[str, Sourced]:
    """Return each setting that somebody said, with its source; `layers` go from winner to loser.

    The scales of guidance stand under "guidance.text", "guidance.reference" and so on. Revision
    and variant mean nothing for the model of a stronger layer.
    """
    winners: dict[str, Sourced] = {}
    for source, layer in layers.items():
        settled = {*winners, *(_OF_A_MODEL if "model" in winners else ())}
        winners |= {name: Sourced(v, source) for name, v in _said(layer) if name not in settled}
    return winners


def sampling(settings: Settings, default: Sampling) -> Sampling:
    """Return complete sampling: what `settings` say, and the model's `default` for the rest."""
    said: dict[str, Any] = dict(_said(settings))
    return Sampling(
        **{name: said.get(name, getattr(default, name)) for name in _SAMPLING},
        guidance=Guidance(
            **{
                name: said.get(f"guidance.{name}", getattr(default.guidance, name))
                for name in GuidanceSettings.model_fields
            }
        ),
    )


def setting_names(*tables: str) -> Iterator[str]:
    """Yield the names of all settings, with the values of `tables` each under a dotted name."""
    yield from (name for name in Settings.model_fields if name not in tables)
    yield from (f"{table}.{name}" for table in tables for name in TABLES[table].model_fields)


_SAMPLING = ("sampler", "steps", "noise_level")
_OF_A_MODEL = ("revision", "variant")
_NAMES = tuple(setting_names("guidance"))


def _said(settings: Settings) -> Iterator[tuple[str, object]]:
    """Yield each setting that was said, guidance as dotted names."""
    for name in _NAMES:
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part, None)
        if value is not None:
            yield name, value


def nested(said: Mapping[str, object]) -> dict[str, object]:
    """Turn dotted names into tables: the inverse of `_said`."""
    tables: dict[str, Any] = {}
    for name, value in said.items():
        table, _, key = name.rpartition(".")
        (tables.setdefault(table, {}) if table else tables)[key] = value
    return tables
