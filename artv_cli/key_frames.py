"""The key frames of a film that a text-to-image model draws: which, and by what model.

Such a model draws the key frames that would be drawn anyway, the first frame and those of cuts,
and none that is a given image.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artv_cli.engine import FrameRequest, PictureRequest
from artv_cli.errors import model_named_at
from artv_cli.latents import Dtype
from artv_cli.model.text_to_image import TextToImageFolder, find_text_to_image
from artv_cli.setting_tables import KeyFrameSettings
from artv_cli.settings import Settings
from artv_cli.storyboard import Segment, Storyboard


@dataclass(frozen=True)
class KeyFrameModel:
    """The text-to-image model of one key frame, and what was asked of it."""

    folder: TextToImageFolder
    asked: KeyFrameSettings

    def request(self, frame: FrameRequest, dtype: Dtype) -> PictureRequest:
        """Return the request for the picture in place of the frame that `frame` asks for."""
        return PictureRequest(
            model=self.folder.fingerprint,
            prompt=frame.prompt,
            seed=frame.seed,
            size=frame.size,
            drawn_size=self.folder.drawn_size(frame.size),
            dtype=dtype,
            steps=self.asked.steps,
            guidance=self.asked.guidance,
        )


def opens_chain(number: int, segment: Segment) -> bool:
    """Whether segment `number`, from 0, begins with a key frame."""
    return number == 0 or segment.start == "cut"


def given_image(storyboard: Storyboard, number: int) -> str | None:
    """Return the path of the image that is the key frame of segment `number`, if one is given."""
    film = storyboard.image if number == 0 else None
    return storyboard.segments[number].image or film


def find_key_frame_models(
    storyboard: Storyboard, over: Settings, under: Settings
) -> dict[int, KeyFrameModel]:
    """Return the text-to-image models of a film, by segment, from 0.

    `over` and `under` as for `plan.make_plan`. Raises ModelError as `find_text_to_image` does.
    """
    find = functools.cache(find_text_to_image)  # it reads every byte of the weights
    found = {}
    for number, asked, home, place in _asked(storyboard, over, under):
        with model_named_at(place):
            folder = find(asked.model, asked.revision, asked.variant, home)
        found[number] = KeyFrameModel(folder, asked)
    return found


def _asked(
    storyboard: Storyboard, over: Settings, under: Settings
) -> Iterator[tuple[int, KeyFrameSettings, Path, str]]:
    """Yield what was asked for each segment, the folder of its path, and its place in the file."""
    for number, segment in enumerate(storyboard.segments):
        if not opens_chain(number, segment) or given_image(storyboard, number) is not None:
            continue
        own = segment.settings.key_frame
        told = own or storyboard.settings.key_frame
        if over.key_frame is not None:
            yield number, over.key_frame, Path(), ""
        elif told is not None:
            loc = () if own is None else ("segments", number)
            yield number, told, storyboard.folder, storyboard.at(*loc, "key_frame", "model")
        elif under.key_frame is not None:
            yield number, under.key_frame, Path(), ""
