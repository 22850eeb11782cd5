"""Where a command's storyboard and settings come from: files, standard input, films, arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import platformdirs
from pydantic import ValidationError

from artv_cli.errors import UsageError
from artv_cli.model.repository import is_hub_id
from artv_cli.recipe import SETTINGS_OF_A_FILM, home_of, read_recipe
from artv_cli.setting_sources import environment_settings, file_settings
from artv_cli.settings import Settings, merge
from artv_cli.story import StoryRequest
from artv_cli.storyboard import PIPED, Segment, Storyboard, load_storyboard, parse_storyboard
from artv_cli.wording import sentence
from artv_cli.yaml_source import MAX_BYTES

STDIN = "-"
PROJECT_FILE = "artv.toml"
_FILMS = {".mp4", ".gif", ".webp", ".png", ".json"}


def story_request(file: str, over: Settings) -> StoryRequest:
    """Return the request for a storyboard file, for `-`, or for a film that carries its recipe.

    Frames are kept beside the file; for standard input, in the current folder.
    """
    if file == STDIN:
        text = sys.stdin.buffer.read(MAX_BYTES + 1)
        return _request(parse_storyboard(text, name=PIPED, folder=Path()), Path(), over)
    path = Path(file)
    if os.path.isdir(path) or path.suffix.lower() in _FILMS:
        return _film_request(path, over)
    return _request(load_storyboard(path), path.parent, over)


def clip_request(
    prompt: str, frames: int, over: Settings, image: Path | None = None
) -> StoryRequest:
    """Return the request for one segment; UsageError for bad words.

    The current folder keeps its frames and holds its settings, wherever the image is. The image
    may be a link into another folder, as one that a storyboard names may not.
    """
    named = image
    if image is not None and os.path.islink(image):
        image = Path(os.path.realpath(image))
    try:
        storyboard = Storyboard(
            segments=(Segment(prompt=prompt, frames=frames),),
            image=None if image is None else image.name,
            name=prompt if named is None else f"{named}: {prompt}",
            folder=Path() if image is None else image.parent,
        )
    except ValidationError as error:
        problems = (sentence(problem) for problem in error.errors(include_url=False))
        raise UsageError("\n".join(problems)) from None
    return _request(storyboard, Path(), over)


def surroundings(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Settings]:
    """Return the settings around a storyboard in `folder`, by source, from winner to loser.

    The project file stands beside the storyboard, or else in the current folder. UsageError for
    the first source that cannot be read.
    """
    return {source: read() for source, read in settings_sources(folder, environ).items()}


def settings_sources(
    folder: Path, environ: Mapping[str, str] = os.environ
) -> dict[str, Callable[[], Settings]]:
    """Return how to read each source of `surroundings`; each may raise UsageError."""
    project, user = config_files(folder)
    return {
        "environment": partial(environment_settings, environ),
        str(project): partial(file_settings, project),
        str(user): partial(file_settings, user),
    }


def config_files(folder: Path) -> tuple[Path, Path]:
    """Return where the project's and the user's settings stand, if they do."""
    beside = folder / PROJECT_FILE
    project = beside if beside.exists() else Path(PROJECT_FILE)
    return project, platformdirs.user_config_path("artv") / "config.toml"


def _request(storyboard: Storyboard, home: Path, over: Settings) -> StoryRequest:
    under = merge(*surroundings(home).values())
    return StoryRequest(storyboard=storyboard, home=home, over=over, under=under)


def _film_request(path: Path, over: Settings) -> StoryRequest:
    """Return the request that makes a film again: what its recipe says leaves nothing open."""
    recipe, home = read_recipe(path), home_of(path)
    storyboard = parse_storyboard(recipe.storyboard, name=str(path), folder=home)
    try:
        film, precedent = recipe.in_force()
    except ValueError:
        raise UsageError(
            f"{path}: its recipe holds settings that artv does not know.",
            f"It was made by artv {recipe.version}: render it with that version.",
        ) from None
    complete = merge(storyboard.settings, film)
    if not is_hub_id(recipe.model):  # films from before such a revision was refused may hold one
        complete = complete.model_copy(update={"revision": None})
    request = _request(storyboard.model_copy(update={"settings": complete}), home, over)
    under = request.under.model_copy(update=dict.fromkeys(SETTINGS_OF_A_FILM))
    return replace(request, under=under, precedent=precedent)
