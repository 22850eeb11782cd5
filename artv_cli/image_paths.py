"""The images that a storyboard names: read, and how their paths read from another folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from artv_cli.errors import ImageError
from artv_cli.images import InputImage, read_image
from artv_cli.storyboard import Segment, Storyboard
from artv_cli.storyboard_form import ANCHOR_WORDS, Loc
from artv_cli.wording import printable


def image_paths(storyboard: Storyboard) -> tuple[str, ...]:
    """Return the path of every image in the storyboard, each once, as it is written there."""
    return tuple(dict.fromkeys(path for _, path in _paths(storyboard)))


def read_images(storyboard: Storyboard) -> dict[str, InputImage]:
    """Return the bytes of every image, by path; ImageError for all that cannot be used.

    Each is told with the place in the storyboard that names it first.
    """
    images, problems = {}, []
    places: dict[str, Loc] = {}
    for loc, path in _paths(storyboard):
        places.setdefault(path, loc)
    for path, loc in places.items():
        try:
            images[path] = read_image(storyboard.folder / path, storyboard.folder)
        except ImageError as error:
            message, remedy = printable(error.message), printable(error.remedy)
            problems.append(ImageError(storyboard.at(*loc) + message, remedy))
    if problems:
        *others, last = problems
        raise ImageError("\n".join([*map(str, others), last.message]), last.remedy)
    return images


def seen_from(storyboard: Storyboard, folder: Path) -> Storyboard:
    """Return the storyboard as it must be written to mean the same images from `folder`.

    From there, an image outside `folder` is named but not read: artv does not look outside.
    """

    def moved(path: str) -> str:
        there = (storyboard.folder / path).resolve()
        try:
            return Path(os.path.relpath(there, folder.resolve())).as_posix()
        except ValueError:  # on another drive
            return there.as_posix()

    image = storyboard.image and moved(storyboard.image)
    segments = tuple(_with_images(segment, moved) for segment in storyboard.segments)
    return storyboard.model_copy(update={"image": image, "segments": segments, "folder": folder})


def _paths(storyboard: Storyboard) -> Iterator[tuple[Loc, str]]:
    """Yield every path, with its place in the storyboard."""
    if storyboard.image is not None:
        yield ("image",), storyboard.image
    for number, segment in enumerate(storyboard.segments):
        if segment.image is not None:
            yield ("segments", number, "image"), segment.image
        if _is_image(segment.anchor):
            yield ("segments", number, "anchor"), str(segment.anchor)


def _with_images(segment: Segment, moved: Callable[[str], str]) -> Segment:
    anchor = moved(str(segment.anchor)) if _is_image(segment.anchor) else segment.anchor
    return segment.model_copy(
        update={"image": segment.image and moved(segment.image), "anchor": anchor}
    )


def _is_image(anchor: object) -> bool:
    return isinstance(anchor, str) and anchor not in ANCHOR_WORDS
