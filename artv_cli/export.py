"""Finished frames leave the cache: the film, its subtitles, and the recipe to make it again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artv_cli import __version__
from artv_cli.errors import UsageError
from artv_cli.files.input_file import raise_if_failing, read_input
from artv_cli.files.output import holds, remove, require_place, storage_errors
from artv_cli.image_paths import image_paths, seen_from
from artv_cli.key_frames import KeyFrameModel
from artv_cli.latents import Pixels
from artv_cli.masks import check_masks
from artv_cli.media import video
from artv_cli.media.subtitles import Cue, srt, write_srt
from artv_cli.model.folder import ModelFolder
from artv_cli.plan import DEFAULT_SEED, RenderPlan
from artv_cli.quantities import Rate
from artv_cli.recipe import (
    SETTINGS_OF_A_FILM,
    Recipe,
    is_recipe,
    is_untouched,
    read_recipe,
    remove_sidecar,
    sidecar_path,
    write_sidecar,
)
from artv_cli.settings import Settings, less, merge, sampling
from artv_cli.storyboard import Segment, Storyboard, dump_storyboard, parse_storyboard

_REMEDY = "Choose another output with -o."
_FORMATS = ("", ".mp4", ".gif", ".webp", ".png")  # none: a folder


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a film goes: its format follows the extension, none meaning a folder of PNGs.

    `masks` is the folder for the masks of its frames, if they are wanted; `metadata` False leaves
    the recipe out; `overwrite` allows replacing what artv did not make.
    """

    path: Path
    masks: Path | None = None
    metadata: bool = True
    overwrite: bool = False


def check_output(output: Output, storyboard: Storyboard, plan: RenderPlan, cache: Path) -> None:
    """Raise where the film cannot be written, before the first second of work.

    UsageError for a format or rate that cannot be, for a film, its recipe, subtitles or masks that
    artv did not make, for a film that would take the place of the `cache` or of a picture that it
    is made from, and for masks that would take that of any of these; StorageError for a folder
    that cannot be written.
    """
    with storage_errors(output.path):
        video.check_output(output.path, plan.fps)
        _require_ours(output, storyboard, plan)
        _require_apart(output.path, storyboard, cache)
    require_place(output.path, _REMEDY)
    if output.masks is not None:
        film = output.path
        pictures = map(storyboard.folder.joinpath, image_paths(storyboard))
        check_masks(output.masks, film, sidecar_path(film), _srt_path(film), cache, *pictures)


def write_film(
    frames: Iterable[Pixels],
    output: Output,
    *,
    storyboard: Storyboard,
    plan: RenderPlan,
    recipe: Recipe,
) -> None:
    """Write the film, with its dissolves and subtitles, and beside it `.srt` and recipe.

    Raises UsageError for what artv did not make and that was put there since `check_output`,
    EncodeError and StorageError; then what stood at the output is still there.
    """
    cues, srt_path = _cues(storyboard), _srt_path(output.path)
    with storage_errors(output.path):
        _require_ours(output, storyboard, plan)  # again: drawing may take hours
        srt_is_stale = not cues and _holds_any(srt_path, _srts_of(output.path))
    video.write_video(
        video.dissolve(frames, _fades(storyboard)),
        output.path,
        fps=plan.fps,
        count=len(plan.frames),
        metadata=recipe.metadata() if output.metadata else {},
        subtitles=cues,
    )
    if cues:
        write_srt(cues, srt_path, fps=plan.fps)
    elif srt_is_stale:
        remove(srt_path, "Remove it: it tells of another film.")
    if output.metadata:
        write_sidecar(recipe, output.path)
    else:
        remove_sidecar(output.path)


def make_recipe(
    storyboard: Storyboard,
    over: Settings,
    under: Settings,
    *,
    plan: RenderPlan,
    model: ModelFolder,
    key_frames: Mapping[int, KeyFrameModel],
    digests: Sequence[str],
    folder: Path,
) -> Recipe:
    """Return what a film in `folder` must carry so that it can be rendered again from there.

    Flags and other settings in force become part of its storyboard.
    """
    told = _with_key_frames(_complete(storyboard, over, under), key_frames, folder)
    name = model.name_from(folder)
    if told.settings.model is not None:
        settings = told.settings.model_copy(update={"model": name})
        told = told.model_copy(update={"settings": settings})
    return Recipe(
        storyboard=dump_storyboard(seen_from(told, folder)),
        model=name,
        fingerprint=model.fingerprint,
        version=__version__,
        settings=_in_force(told, plan, model, key_frames),
        frames_digest=hashlib.sha256("".join(digests).encode()).hexdigest(),
        title=storyboard.title or "",
    )


def _require_ours(output: Output, storyboard: Storyboard, plan: RenderPlan) -> None:
    """Raise UsageError where a film, its recipe or subtitles stand that artv did not make."""
    path, remedy = output.path, "Add --yes to overwrite it, or choose another output with -o."
    if output.overwrite:
        return
    if not _may_write_recipe(output):
        raise UsageError(
            f"{sidecar_path(path)} is there already, and it is no recipe of artv's.", remedy
        )
    if not (_is_free(path) or is_untouched(path)):
        raise UsageError(
            f"{path} is there already, and it is not known to be as artv wrote it.", remedy
        )
    cues = _cues(storyboard)
    same = srt(cues, plan.fps)  # it loses nothing, whatever can be read of the film there
    if cues and not (_may_write_srt(path) or _holds_any(_srt_path(path), [same])):
        raise UsageError(f"{_srt_path(path)} is there already, and not as artv wrote it.", remedy)


def _require_apart(film: Path, storyboard: Storyboard, cache: Path) -> None:
    """Raise UsageError for a film where its pictures are or its frames are kept.

    Without its pictures it could not be made again, nor go on where it was stopped.
    """
    for picture in image_paths(storyboard):
        if holds(film, storyboard.folder / picture):
            raise UsageError(f"{film} would replace {picture}, which it is made from.", _REMEDY)
    if holds(film, cache):
        raise UsageError(f"{film} would replace the cache {cache}.", _REMEDY)


def _is_free(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _may_write_recipe(output: Output) -> bool:
    """Tell whether nothing stands where the film's recipe goes but a recipe of artv's."""
    is_folder = output.path.is_dir()  # which is replaced whole; a new one has nothing inside
    if not (is_folder or (output.metadata and output.path.suffix)):
        return True
    path = sidecar_path(output.path)
    return not os.path.lexists(path) or is_recipe(path)


def _may_write_srt(film: Path) -> bool:
    """Tell whether the subtitles beside a film are absent, or as artv wrote them for its like."""
    path = _srt_path(film)
    films = (film, *(path.with_suffix(suffix) for suffix in _FORMATS))
    return not os.path.lexists(path) or any(_holds_any(path, _srts_of(like)) for like in films)


def _srt_path(film: Path) -> Path:
    named = film if film.name not in ("", os.pardir) else film.resolve()  # it may be "."
    return named.with_suffix(".srt")


def _srts_of(film: Path) -> Iterator[str]:
    """Yield the subtitles that artv wrote with a film, by the recipe in it and by that beside it.

    The one beside it is written last of all: where that failed it tells of the film before, and
    so do the subtitles.
    """
    for told in (film, sidecar_path(film)):
        with suppress(UsageError, LookupError, ValueError):  # none of artv's, or not of today's
            recipe = read_recipe(told)
            storyboard = parse_storyboard(recipe.storyboard, name=str(film), folder=film.parent)
            yield srt(_cues(storyboard), Rate().parse(recipe.settings["fps"]))


def _holds_any(path: Path, texts: Iterable[str]) -> bool:
    """Tell whether a file holds one of the texts, and not nothing at all."""
    return any(text and _holds(path, text.encode()) for text in texts)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_input(path, len(content)) == content
    except UsageError as error:  # missing, longer, not to be read
        raise_if_failing(error)
        return False


def _starts(storyboard: Storyboard) -> list[tuple[int, Segment]]:
    """Return each segment with the index of its first frame."""
    starts, index = [], 0
    for segment in storyboard.segments:
        starts.append((index, segment))
        index += segment.frames
    return starts


def _fades(storyboard: Storyboard) -> Mapping[int, int]:
    return {start: segment.fade for start, segment in _starts(storyboard) if segment.fade}


def _cues(storyboard: Storyboard) -> list[Cue]:
    return [
        Cue(start, start + segment.frames, segment.narration)
        for start, segment in _starts(storyboard)
        if segment.narration
    ]


def _complete(storyboard: Storyboard, over: Settings, under: Settings) -> Storyboard:
    """Return the storyboard with all that was said elsewhere written into it.

    What is `over` everything stands once, for the whole film, and no segment says otherwise.
    """
    segments = tuple(
        segment.model_copy(update={"settings": less(segment.settings, over)})
        for segment in storyboard.segments
    )
    film = _only(merge(over, storyboard.settings, under), SETTINGS_OF_A_FILM)
    return storyboard.model_copy(update={"segments": segments, "settings": film})


def _with_key_frames(
    storyboard: Storyboard, key_frames: Mapping[int, KeyFrameModel], folder: Path
) -> Storyboard:
    """Return the storyboard with each text-to-image model where it drew, named from `folder`."""
    drawn = {
        number: one.asked.model_copy(update={"model": one.folder.name_from(folder)})
        for number, one in key_frames.items()
    }

    def said(settings: Settings, number: int | None = None) -> dict[str, Any]:
        key_frame = None if number is None else drawn.get(number)
        return {"settings": settings.model_copy(update={"key_frame": key_frame})}

    segments = tuple(
        segment.model_copy(update=said(segment.settings, number))
        for number, segment in enumerate(storyboard.segments)
    )
    return storyboard.model_copy(update={"segments": segments, **said(storyboard.settings)})


def _only(settings: Settings, names: set[str]) -> Settings:
    return Settings.model_validate({name: getattr(settings, name) for name in names})


def _in_force(
    storyboard: Storyboard,
    plan: RenderPlan,
    model: ModelFolder,
    key_frames: Mapping[int, KeyFrameModel],
) -> dict[str, Any]:
    """Return the film's settings as JSON values, the model's own defaults included."""
    said, liked = storyboard.settings, model.preferences
    pictured = sorted({one.folder.fingerprint for one in key_frames.values()})
    return {
        "size": list(plan.size),
        "fps": str(plan.fps),
        "dtype": plan.dtype,
        "seed": said.seed or DEFAULT_SEED,
        **asdict(sampling(said, liked.sampling)),
        "key_frame": asdict(sampling(said, liked.key_sampling)),
        **({"pictured": pictured} if pictured else {}),
    }
