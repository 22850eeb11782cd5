"""Where settings come from: the command line, the environment and TOML files."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from artv_cli.errors import UsageError
from artv_cli.files.input_file import read_input
from artv_cli.setting_tables import TABLES
from artv_cli.settings import Settings, nested, setting_names
from artv_cli.wording import sentence

_FILE_LIMIT = 1_000_000  # bytes
VARIABLES: Mapping[str, str] = {
    name: "ARTV_CACHE_DIR" if name == "cache" else "ARTV_" + name.replace(".", "_").upper()
    for name in setting_names(*TABLES)
}


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
    return _settings(nested(told), VARIABLES.__getitem__)


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
