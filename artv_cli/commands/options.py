"""Options that several commands share: each declared once, in groups that a command asks for.

A command takes a group as one parameter; `grouped` shows Typer the single options in its place.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from artv_cli.errors import UsageError
from artv_cli.export import Output
from artv_cli.setting_sources import flag_settings
from artv_cli.setting_tables import GuidanceSettings
from artv_cli.settings import SamplerName, Settings, merge

_MODEL = "Model"
_FRAMES = "How frames are drawn"
_WORK = "Where the work is done"
_OUTPUT = "Output"


def _option(help: str, panel: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar)


Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="A storyboard; - for standard input; or a film made by artv."
    ),
]
CacheOption = Annotated[
    Path | None, _option("Folder that keeps the frames; else .artv.", _WORK, "FOLDER")
]


@dataclass(frozen=True, kw_only=True)
class FrameOptions:
    """What decides the bits of a frame, and where frames are kept."""

    seed: Annotated[str | None, _option("Another seed is another film.", _FRAMES, "N")] = None
    steps: Annotated[
        str | None, _option("Sampling steps for each frame: more is slower.", _FRAMES, "N")
    ] = None
    sampler: Annotated[
        SamplerName | None,
        _option(f"How noise is taken away: {', '.join(get_args(SamplerName))}.", _FRAMES, "NAME"),
    ] = None
    guidance: Annotated[
        str | None,
        _option(
            "How strongly the prompt is followed; or several scales, as in text=6,anchor=0.5.",
            _FRAMES,
            "SCALE",
        ),
    ] = None
    guidance_reference: Annotated[
        str | None, _option("How strongly the two frames before hold.", _FRAMES, "SCALE")
    ] = None
    guidance_anchor: Annotated[
        str | None, _option("How strongly the anchor frame holds.", _FRAMES, "SCALE")
    ] = None
    guidance_on: Annotated[
        str | None,
        _option("Guide the dynamic part alone, or composed: the blend.", _FRAMES, "PLACE"),
    ] = None
    guidance_rescale: Annotated[
        str | None,
        _option("How far the contrast that guidance adds is taken back, 0 to 1.", _FRAMES, "SHARE"),
    ] = None
    guidance_interval: Annotated[
        str | None,
        _option(
            "The timesteps that are guided, as in 200-900: the others are cheaper.", _FRAMES, "A-B"
        ),
    ] = None
    noise_level: Annotated[
        str | None,
        _option("How far references and anchor are noised, 0 to 999.", _FRAMES, "N"),
    ] = None
    size: Annotated[
        str | None, _option("Width and height of a frame in pixels.", _FRAMES, "WxH")
    ] = None
    model: Annotated[
        str | None, _option("An embedded model, a model folder, or a hub id.", _MODEL, "NAME")
    ] = None
    revision: Annotated[
        str | None, _option("Branch, tag or commit of a hub model.", _MODEL, "REV")
    ] = None
    variant: Annotated[
        str | None, _option("Variant of the weight files, such as fp16.", _MODEL, "NAME")
    ] = None
    dtype: Annotated[
        str | None,
        _option("Precision: fp32, fp16, bf16, or float32, float16, bfloat16.", _MODEL, "DTYPE"),
    ] = None
    cache: CacheOption = None

    def settings(self, **more: object) -> Settings:
        """Return what these flags, and `more` of other groups, say; UsageError names a bad one."""
        flags = dataclasses.asdict(self) | more
        single = [name for name in GuidanceSettings.model_fields if f"guidance_{name}" in flags]
        said = {name: flags.pop(f"guidance_{name}") for name in single}
        said = {name: value for name, value in said.items() if value is not None}
        return merge(flag_settings(guidance=said or None), flag_settings(**flags))


@dataclass(frozen=True, kw_only=True)
class StoryOptions(FrameOptions):
    """The same, where key frames are drawn and not all given."""

    key_frame_model: Annotated[
        str | None,
        _option(
            "A text-to-image model that draws the key frames: a diffusers folder or a hub id.",
            _MODEL,
            "ID",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """Where frames are drawn, and which drawn ones count."""

    device: Annotated[str | None, _option("auto, cpu, cuda, cuda:1 or mps.", _WORK, "DEVICE")] = (
        None
    )
    offload: Annotated[
        str | None,
        _option(
            "For small cards, what waits in main memory: none, model, or sequential (slow).",
            _WORK,
            "HOW",
        ),
    ] = None
    strict: Annotated[
        bool | None,
        _option("Draw again what another version or device has drawn.", _WORK, "", "--strict"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FilmOptions:
    """Where the film goes and how it is written."""

    output: Annotated[
        Path | None,
        _option(
            ".mp4, .gif, .webp, .png (a contact sheet), or a folder for PNGs.",
            _OUTPUT,
            "FILE",
            "--output",
            "-o",
        ),
    ] = None
    fps: Annotated[
        str | None, _option("Frames a second: 8, 29.97, 30000/1001.", _OUTPUT, "RATE")
    ] = None
    no_metadata: Annotated[
        bool, _option("Leave the recipe out of the film.", _OUTPUT, "", "--no-metadata")
    ] = False
    preview: Annotated[
        bool,
        _option(
            "Keep a picture of the newest frame beside the output, and show it in the terminal.",
            _OUTPUT,
            "",
            "--preview",
        ),
    ] = False
    yes: Annotated[
        bool,
        _option("Overwrite a file that artv did not make.", _OUTPUT, "", "--yes", "-y"),
    ] = False

    def target(self, default: Path) -> Output:
        """Return where to write, `default` when nothing was said."""
        path = default if self.output is None else self.output
        return Output(path=path, metadata=not self.no_metadata, overwrite=self.yes)


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """How the command talks."""

    json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print the result as one JSON object.")
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", metavar="", help="Print nothing but the result and errors."),
    ] = False


@dataclass(frozen=True, kw_only=True)
class EventOptions(TalkOptions):
    """How a command talks that takes its time."""

    json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="Print events, one JSON object a line.",
        ),
    ] = False


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with each option group among its parameters spread into single options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        n: hint for n, hint in hints.items() if dataclasses.is_dataclass(hint)
    }
    flat: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        flat += [_single(parameter, hints)] if group is None else _options(group)

    @functools.wraps(command)
    def call(**values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):  # within any min and max
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} {value} is no finite number.", f"Give {flag} another.")
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in dataclasses.fields(group)})
        command(**values)

    return with_signature(call, flat)


def with_signature(
    call: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """Return `call` so that Typer sees it with these `parameters`."""
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    return call


def _single(parameter: inspect.Parameter, hints: dict[str, Any]) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return parameter.replace(kind=keyword, annotation=hints[parameter.name])


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=hints[option.name],
        )
        for option in dataclasses.fields(group)
    ]
