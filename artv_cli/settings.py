"""Render settings: what a person may set, where each value came from, and what decides the bits.

Sources, the first that says a value wins: flag > segment > storyboard > `ARTV_*` > the project's
`artv.toml` > the user's `config.toml` > the model's own default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from artv_cli.errors import UsageError
from artv_cli.files.input_file import read_input
from artv_cli.latents import Dtype
from artv_cli.scalars import Bytes, Choice, Folder, Pattern, Rate, Size, Switch, Whole
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
from artv_cli.wording import sentence

SamplerName = Literal["dpmpp_2s_ancestral", "dpmpp_2m", "euler"]
Offload = Literal["none", "model", "sequential"]
StaticNoise = Literal["exact", "input_minus_reference", "reference_minus_input"]

_PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_FILE_LIMIT = 1_000_000  # bytes


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
        Annotated[str, Pattern("[a-z]+(:[0-9]+)?", "a device, such as cpu or cuda:0")] | None
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
    return Settings.model_validate(_nested({name: one.value for name, one in winners.items()}))


def less(settings: Settings, over: Settings) -> Settings:
    """Return what settings say that a stronger layer leaves open, field by field as in `merge`."""
    decided = dict(_said(over))
    return Settings.model_validate(
        _nested({name: value for name, value in _said(settings) if name not in decided})
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


def flag_settings(**flags: object) -> Settings:
    """Return settings from command-line values, None meaning not given.

    `guidance` may be one number, the text scale, or "text=6.5,reference=0.25,on=composed", or hold
    what flags such as `--guidance-anchor` say; `key_frame_model` names the model of `key_frame`.
    UsageError names the flag.
    """
    joint = "-"  # --guidance-anchor; of a pair it is --guidance: anchor
    said = {name: value for name, value in flags.items() if value is not None}
    if "key_frame_model" in said:
        said["key_frame"] = {"model": said.pop("key_frame_model")}
    if isinstance(said.get("guidance"), str | int | float):
        said["guidance"], joint = _guidance(str(said["guidance"])), ": "
    return _settings(said, lambda name: _flag(name.replace("guidance.", f"guidance{joint}")))


def environment_settings(environ: Mapping[str, str]) -> Settings:
    """Return settings from `ARTV_STEPS`, `ARTV_CACHE_DIR`, `ARTV_GUIDANCE_TEXT` and so on.

    An empty variable says nothing. UsageError names the variable.
    """
    said = {name: environ.get(variable) for name, variable in VARIABLES.items()}
    told = {name: text for name, text in said.items() if text}
    return _settings(_nested(told), VARIABLES.__getitem__)


def file_settings(path: Path) -> Settings:
    """Return settings from a TOML file; none if it is missing.

    `cache` and models that begin with a dot are relative to its folder. UsageError names the file
    and every bad key.
    """
    if not path.exists():
        return Settings()
    try:
        said = tomllib.loads(read_input(path, _FILE_LIMIT).decode())
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", "Correct it there.") from None
    except (RecursionError, ValueError):  # UTF-8 that is none is a ValueError
        raise UsageError(f"{path} is not TOML in UTF-8.", "Save it as plain UTF-8 text.") from None
    settings = _settings(said, lambda name: f"{path}: {name}")
    return settings.model_copy(update=dict(_beside(settings, path.parent)))


def _beside(settings: Settings, folder: Path) -> Iterator[tuple[str, object]]:
    """Yield what in a file's settings is relative to its folder, as seen from here."""
    if settings.cache is not None:
        yield "cache", folder / settings.cache
    if settings.model is not None:
        yield "model", _placed(settings.model, folder)
    if (key_frame := settings.key_frame) is not None:
        yield "key_frame", key_frame.model_copy(update={"model": _placed(key_frame.model, folder)})


def _placed(name: str, folder: Path) -> str:
    return os.path.join(folder, name) if name.startswith(("./", "../")) else name


def _names(*tables: str) -> Iterator[str]:
    """Yield the names of all settings, with the values of `tables` each under a dotted name."""
    yield from (name for name in Settings.model_fields if name not in tables)
    yield from (f"{table}.{name}" for table in tables for name in TABLES[table].model_fields)


_SAMPLING = ("sampler", "steps", "noise_level")
_OF_A_MODEL = ("revision", "variant")
_NAMES = tuple(_names("guidance"))
VARIABLES: Mapping[str, str] = {
    name: "ARTV_CACHE_DIR" if name == "cache" else "ARTV_" + name.replace(".", "_").upper()
    for name in _names(*TABLES)
}


def _said(settings: Settings) -> Iterator[tuple[str, object]]:
    """Yield each setting that was said, guidance as dotted names."""
    for name in _NAMES:
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part, None)
        if value is not None:
            yield name, value


def _nested(said: Mapping[str, object]) -> dict[str, object]:
    """Turn dotted names into tables: the inverse of `_said`."""
    tables: dict[str, Any] = {}
    for name, value in said.items():
        table, _, key = name.rpartition(".")
        (tables.setdefault(table, {}) if table else tables)[key] = value
    return tables


def _flag(name: str) -> str:
    return "--" + name.replace(".", "-").replace("_", "-")


def _guidance(text: str) -> dict[str, object]:
    """Read the short form of guidance: one number, or pairs such as text=6.5,anchor=0.25."""
    if "=" not in text:
        return {"text": text}
    pairs = (pair.partition("=") for pair in text.split(","))
    return {key.strip(): value for key, _, value in pairs}


def _settings(said: Mapping[str, object], subject: Callable[[str], str]) -> Settings:
    """Validate what somebody said; UsageError with one line for each bad value.

    `subject` turns a dotted name into what the line is about.
    """
    try:
        return Settings.model_validate(said)
    except ValidationError as error:
        raise UsageError("\n".join(_complaints(error, subject))) from None


def _complaints(error: ValidationError, subject: Callable[[str], str]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        model = TABLES[str(problem["loc"][0])] if len(problem["loc"]) > 1 else Settings
        yield sentence(problem, model.model_fields, subject(".".join(map(str, problem["loc"]))))
