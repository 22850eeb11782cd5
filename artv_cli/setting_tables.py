"""The settings that are several values under one name, as a table of TOML or YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from artv_cli.quantities import Interval
from artv_cli.scalars import Choice, Number, Text, Whole

GuidancePlace = Literal["dynamic", "composed"]
ALL_TIMESTEPS = (0, 999)
Name = Annotated[str, Text()]
REVISION = Field(
    default=None, description="Branch, tag or commit of a hub model: a commit pins it."
)
VARIANT = Field(default=None, description="Variant of the weight files, such as fp16.")
_Scale = Annotated[float, Number(0, 50)]


class Frozen(BaseModel):
    """A record that never changes and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GuidanceSettings(Frozen):
    """Guidance (Eq. 8) as a person set it; what is left out is the model's own."""

    text: _Scale | None = Field(default=None, description="How strongly the prompt is followed.")
    reference: _Scale | None = Field(
        default=None, description="How strongly the two frames before hold."
    )
    anchor: _Scale | None = Field(default=None, description="How strongly the anchor frame holds.")
    on: Annotated[GuidancePlace, Choice(get_args(GuidancePlace))] | None = Field(
        default=None,
        description="Guide the dynamic part alone, or the composed prediction (the paper).",
    )
    rescale: Annotated[float, Number(0, 1)] | None = Field(
        default=None,
        description="How far the contrast that guidance adds is taken back: 0 not, 1 wholly.",
    )
    interval: Annotated[tuple[int, int], Interval(*ALL_TIMESTEPS)] | None = Field(
        default=None,
        description="The lowest and the highest timestep that are guided: the others are cheaper.",
    )


class KeyFrameSettings(Frozen):
    """A text-to-image model that draws key frames; what is left out is the model's own.

    One setting as a whole: what is said of one model means nothing for another.
    """

    model: Name = Field(description="A diffusers folder, or a hub id.")
    revision: Name | None = REVISION
    variant: Name | None = VARIANT
    steps: Annotated[int, Whole(1, 1000)] | None = Field(default=None, description="Its steps.")
    guidance: _Scale | None = Field(default=None, description="How strongly it hears the prompt.")

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self if value is not None)


TABLES: Mapping[str, type[Frozen]] = {"guidance": GuidanceSettings, "key_frame": KeyFrameSettings}
"""The settings that are several values under one name."""
