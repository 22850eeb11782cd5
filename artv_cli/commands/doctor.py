"""The command `doctor`: facts about this machine and this folder, to paste into a report."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from artv_cli import __version__
from artv_cli.commands.options import TalkOptions
from artv_cli.commands.sources import config_files, settings_sources
from artv_cli.console import emit_json, emit_table, file_size
from artv_cli.errors import UsageError
from artv_cli.settings import Settings, explain, merge
from artv_cli.story import CACHE_FOLDER

_LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "pillow", "typer", "rich")


def doctor(talk: TalkOptions) -> None:
    """Print facts to paste into a report: versions, device, ffmpeg, cache, settings.

    artv doctor
    artv doctor --json
    """
    layers, broken = _settings()
    facts = dict(_facts(merge(*layers.values())))
    if broken:
        facts["unusable settings"] = "; ".join(broken)
    said = {
        name: f"{setting.value} ({setting.source})" for name, setting in explain(layers).items()
    }
    if talk.json:
        emit_json(facts | {"settings": said})
        return
    settings = ((f"setting {name}", text) for name, text in said.items())
    emit_table(("", ""), [*facts.items(), *settings])


def _settings() -> tuple[dict[str, Settings], list[str]]:
    """Return the settings around this folder by source, and what is wrong with the others."""
    layers, broken = {}, []
    for source, read in settings_sources(Path()).items():
        try:
            layers[source] = read()
        except UsageError as error:  # a doctor is asked because something is broken
            broken += error.message.splitlines()
    return layers, broken


def _facts(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "artv", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "platform", platform.platform()
    for name in _LIBRARIES:
        yield name, _version(name)
    yield "device", _device()
    yield "free memory", file_size(psutil.virtual_memory().available)
    yield "ffmpeg", _ffmpeg()
    cache = (settings.cache or Path(CACHE_FOLDER)).resolve()
    there = next(path for path in (cache, *cache.parents) if path.exists())
    yield "cache", f"{cache} ({'there' if there == cache else 'not made yet'})"
    yield "free disk", file_size(shutil.disk_usage(there).free)
    for whose, path in zip(("project", "user"), config_files(Path()), strict=True):
        yield f"{whose} settings", f"{path.resolve()} ({'there' if path.exists() else 'none'})"


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


def _device() -> str:
    """Return where networks would run; this is the one fact that takes torch."""
    try:
        import torch
    except Exception as error:  # a broken installation is what a doctor is asked about
        return f"torch cannot be imported: {error}"
    if torch.cuda.is_available():
        free, total = map(file_size, torch.cuda.mem_get_info())
        return f"cuda ({torch.cuda.get_device_name()}, {free} of {total} free)"
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu ({torch.get_num_threads()} threads)"


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg

        return f"{imageio_ffmpeg.get_ffmpeg_version()} ({imageio_ffmpeg.get_ffmpeg_exe()})"
    except Exception as error:  # missing, not executable, killed: any of them is the finding
        return f"cannot be run: {error}"
