"""What a film is made from, carried by the film itself and by a JSON file beside it.

Either is enough to render the film again. Both say, for machines, that it is AI-generated: as
`AI-generated: true` and as IPTC's digital source type.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from artv_cli.errors import ArtvError, UsageError
from artv_cli.files.input_file import raise_if_failing
from artv_cli.files.output import remove, storage_errors, write_text
from artv_cli.media.probe import read_metadata
from artv_cli.media.video import RECIPE_FILE
from artv_cli.model.folder import ModelFolder
from artv_cli.settings import FilmSettings, Sampling, Settings, sampling

FORMAT = "artv-recipe 1"
# What a film may say of itself. The rest is for this machine or this run, and not a stranger's to
# choose: above all not where frames are kept and when they are removed.
SETTINGS_OF_A_FILM = set(FilmSettings.model_fields) - {"device", "offload", "strict"}
# IPTC NewsCodes: made by a model trained on sampled content.
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_MOST_BYTES = 3 * 2**20  # a storyboard has at most 300 kB; escapes may make it six times longer
_REMEDY = "Give a film that artv wrote without --no-metadata, or a storyboard."

_FILM = "film"  # the name of its digest in the recipe beside it
_SAMPLING = tuple(field.name for field in fields(Sampling))


@dataclass(frozen=True, kw_only=True)
class Precedent:
    """How a film was made before: by which weights, and how frames were drawn that nobody told.

    `sampling` is for all frames, `key_sampling` for key frames; what they leave open is the
    model's own still. `pictured` are the fingerprints of the text-to-image models that drew key
    frames.
    """

    fingerprint: str
    sampling: Settings
    key_sampling: Settings
    pictured: tuple[str, ...] = ()

    def differs(self, fingerprint: str, pictured: Collection[str]) -> bool:
        """Whether these are other weights than those of then."""
        return fingerprint != self.fingerprint or set(pictured) != set(self.pictured)

    def followed_by(self, model: ModelFolder) -> ModelFolder:
        """Return the model with the defaults of then in place of those that it has now."""
        liked = model.preferences
        drawn = sampling(self.sampling, liked.sampling)
        key_frame = sampling(self.key_sampling, liked.key_frame or drawn)
        likes = {"sampling": drawn, "key_frame": key_frame}
        return replace(model, preferences=liked.model_copy(update=likes))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A storyboard and all else that decides a film's frames.

    `storyboard` is YAML; `settings` holds what was in force for the whole film, as JSON values,
    and how its key frames were drawn under "key_frame", the fingerprints of text-to-image models
    that drew them under "pictured"; `fingerprint` is the model's, `frames_digest` that of the
    film's frames.
    """

    storyboard: str
    model: str
    fingerprint: str
    version: str
    settings: Mapping[str, Any]
    frames_digest: str = ""
    title: str = ""

    def to_json(self, indent: int | None = None, **more: str) -> str:
        """Return the recipe, and more, as a JSON object.

        It is on one ASCII line unless indented for people.
        """
        marks = {"AI-generated": True, "digitalSourceType": DIGITAL_SOURCE_TYPE}
        told = {"format": FORMAT, **marks, **asdict(self), **more}
        text = json.dumps(told, indent=indent, ensure_ascii=indent is None)
        return text.encode("utf-8", "backslashreplace").decode()  # a path need not be UTF-8

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Return the recipe in a JSON object; raises ValueError where it is none."""
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(f"it is not in the format {FORMAT}")
        texts = ("storyboard", "model", "fingerprint", "version", "frames_digest", "title")
        for name in texts:
            if not isinstance(told.get(name), str):
                raise ValueError(f"its {name} is missing or no text")
        if not isinstance(settings := told.get("settings"), dict):
            raise ValueError("its settings are missing or no object")
        return cls(settings=settings, **{name: told[name] for name in texts})

    def in_force(self) -> tuple[Settings, Precedent]:
        """Return what was in force for the film, and apart from it how frames were drawn.

        ValueError for settings that artv does not know.
        """
        film = {name: value for name, value in self.settings.items() if value is not None}
        key_frame, pictured = film.pop("key_frame", {}), film.pop("pictured", [])
        if not isinstance(pictured, list) or not film.keys() <= SETTINGS_OF_A_FILM:
            raise ValueError("its settings are not those of a film")
        drawn = {name: film.pop(name) for name in _SAMPLING if name in film}
        precedent = Precedent(
            fingerprint=self.fingerprint,
            sampling=Settings.model_validate(drawn),
            key_sampling=Settings.model_validate(key_frame),
            pictured=tuple(map(str, pictured)),
        )
        return Settings.model_validate({"model": self.model} | film), precedent

    def metadata(self) -> dict[str, str]:
        """Return the texts for `video.write_video`."""
        return {
            "title": self.title,
            "comment": self.to_json(),
            "software": f"artv {self.version}",
            "AI-generated": "true",
            "digital_source_type": DIGITAL_SOURCE_TYPE,
        }


def sidecar_path(output: Path) -> Path:
    """Return where the recipe of `output` stands: `film.mp4.json`, or inside a folder of frames."""
    if os.path.isdir(output):  # not a folder either, where the name is longer than any can be
        return output / RECIPE_FILE
    return output.with_name(f"{output.name}.json")


def home_of(film: Path) -> Path:
    """Return the folder that a film lies in, to which the paths in its recipe are relative.

    `film` may be a folder of frames, or the recipe inside it, even from within that folder.
    """
    frames = film.parent if film.name == RECIPE_FILE else film
    return Path(os.path.normpath(frames / os.pardir)) if frames.is_dir() else film.parent


def write_sidecar(recipe: Recipe, output: Path) -> Path:
    """Write the recipe beside a finished film, with the film's digest; return where.

    Raises StorageError.
    """
    path = sidecar_path(output)
    with storage_errors(path):
        film = {_FILM: _digest(output)} if output.is_file() or output.is_dir() else {}
    write_text(path, recipe.to_json(indent=2, **film) + "\n")
    return path


def remove_sidecar(output: Path) -> None:
    """Remove the recipe of an earlier film that stood at `output`; raises StorageError."""
    path = sidecar_path(output)
    with storage_errors(path):
        if is_recipe(path):
            remove(path, "Remove it: it tells of another film.")


def is_untouched(film: Path) -> bool:
    """Tell whether artv wrote this film and nobody changed it since, so that it may be replaced.

    A film carries its recipe. One beside it that is the same knows the film's digest; another is
    that of the film before, where artv was killed between film and recipe. OSError where the disk
    fails, so that it cannot be told.
    """
    try:
        recipe = Recipe.from_json(_embedded(film))
        beside = _sidecar_text(sidecar_path(film))
        if not beside or Recipe.from_json(beside) != recipe:
            return True
        return json.loads(beside).get(_FILM) in (None, _digest(film))
    except (UsageError, ValueError, RecursionError):
        return False


def _digest(film: Path) -> str:
    """Return the SHA-256 of a film's bytes, or of the names and digests of a folder's frames."""
    if film.is_dir():
        frames = sorted(entry for entry in film.glob("frame-*") if entry.is_file())
        told = "".join(f"{_digest(frame)} {frame.name}\n" for frame in frames)
        return hashlib.sha256(os.fsencode(told)).hexdigest()
    with open(film, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_recipe(path: Path) -> bool:
    """Tell whether a JSON file is a recipe, not somebody else's or none at all.

    OSError where the disk fails, so that it cannot be told.
    """
    try:
        Recipe.from_json(_sidecar_text(path))
    except (ValueError, RecursionError):
        return False
    return True


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a film, or else in the JSON file beside it; or in that file itself.

    Raises UsageError where there is none, OSError where the disk fails.
    """
    sidecar = path if path.suffix.lower() == ".json" else sidecar_path(path)
    if not (path.exists() or sidecar.exists()):
        raise UsageError(f"{path} does not exist.", _REMEDY)
    embedded = "" if sidecar == path else _embedded(path)
    problem = "it carries none, and there is none beside it"
    for text in (embedded, _sidecar_text(sidecar)):
        if text:
            try:
                return Recipe.from_json(text)
            except (ValueError, RecursionError) as error:
                problem = str(error) or "it is nested too deep"
    raise UsageError(f"{path} has no recipe to render from: {problem}.", _REMEDY)


def _embedded(path: Path) -> str:
    try:
        return read_metadata(path).get("comment", "")
    except ArtvError as error:  # cut short, re-encoded, another kind: the sidecar may still help
        raise_if_failing(error)
        return ""


def _sidecar_text(path: Path) -> str:
    """Return what a sidecar holds, nothing where it may not be read or is too large to be one."""
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise_if_failing(error)
        return ""
