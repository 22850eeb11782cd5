"""What can be changed about a film: every field that somebody may set, and what it may become.

A case is a film and all that decides its bits besides: flags, environment, what its images show,
what its model prefers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from standin import MODEL, SAMPLING

from artv_cli.model.folder import Preferences
from artv_cli.setting_tables import GuidanceSettings, KeyFrameSettings
from artv_cli.settings import Settings
from artv_cli.storyboard import FrameAnchor, Segment, Storyboard

Film = dict[str, Any]
Change = Callable[[Random], Any]

IMAGES = ("cat.png", "copy.png", "dog.png")
SHOWN = ("a cat", "a dog")  # fewer pictures than names: some files hold the same bytes
ANCHORS = (None, "first", "key", *IMAGES, {"segment": 1, "frame": 1})
_REACH = 3  # segments, and frames of each, that a frame as anchor is chosen from

SETTINGS: dict[str, Change] = {
    "model": lambda rng: rng.choice(("storybook", "other/model", "./tiny")),
    "revision": lambda rng: f"v{rng.randrange(9)}",
    "variant": lambda rng: rng.choice(("fp16", "ema")),
    "dtype": lambda rng: rng.choice(("float32", "float16", "bfloat16")),
    "device": lambda rng: rng.choice(("cpu", "cuda", "cuda:1")),
    "seed": lambda rng: rng.choice((0, 0, 1, 2**63 - 1, rng.randrange(2**63))),
    "size": lambda rng: [8 * rng.randint(1, 8), 8 * rng.randint(1, 8)],
    "fps": lambda rng: rng.choice((8, 24, "30000/1001", 0.5)),
    "steps": lambda rng: rng.choice((8, 8, rng.randint(1, 1000))),
    "sampler": lambda rng: rng.choice(("dpmpp_2s_ancestral", "dpmpp_2m", "euler")),
    "noise_level": lambda rng: rng.choice((200, 200, rng.randint(0, 999))),
    "guidance": lambda rng: {name: GUIDANCE[name](rng) for name in rng.sample(sorted(GUIDANCE), 2)},
    "key_frame": lambda rng: {
        name: KEY_FRAME[name](rng) for name in ("model", rng.choice(sorted(KEY_FRAME)))
    },
    "offload": lambda rng: rng.choice(("none", "model", "sequential")),
    "max_cache_size": lambda rng: rng.choice(("1GB", "300MB")),
    "cache": lambda rng: f"/tmp/{rng.randrange(99)}",
    "strict": lambda rng: rng.random() < 0.5,
}
GUIDANCE: dict[str, Change] = {
    "text": lambda rng: rng.choice((3, 3.0, 0, rng.uniform(0, 50))),
    "reference": lambda rng: rng.choice((0.25, 0, -0.0, rng.uniform(0, 50))),
    "anchor": lambda rng: rng.choice((0.25, 0, rng.uniform(0, 50))),
    "on": lambda rng: rng.choice(("dynamic", "composed")),
    "rescale": lambda rng: rng.choice((0, -0.0, 0.7, rng.random())),
    "interval": lambda rng: rng.choice(
        ([0, 999], "0-999", [200, 900], sorted(rng.choices(range(1000), k=2)))
    ),
}
KEY_FRAME: dict[str, Change] = {
    "model": lambda rng: rng.choice(("painter", "an/other")),
    "revision": lambda rng: f"v{rng.randrange(9)}",
    "variant": lambda rng: rng.choice(("fp16", "ema")),
    "steps": lambda rng: rng.choice((20, rng.randint(1, 1000))),
    "guidance": lambda rng: rng.choice((5, 5.0, rng.uniform(0, 50))),
}
SEGMENT: dict[str, Change] = {
    "prompt": lambda rng: rng.choice(("a cat walks", "a cat walks ", "A cat walks", "é", "a b")),
    "frames": lambda rng: rng.randint(1, 6),
    "settings": lambda rng: _one_of(
        rng, ("seed", "steps", "sampler", "noise_level", "guidance", "key_frame")
    ),
    "start": lambda rng: rng.choice(("continue", "cut")),
    "anchor": lambda rng: rng.choice(ANCHORS),
    "image": lambda rng: rng.choice((None, *IMAGES)),
    "fade": lambda rng: rng.randint(0, 3),
    "narration": lambda rng: rng.choice((None, "And then", "The end")),
}
STORYBOARD: dict[str, Change] = {
    "title": lambda rng: rng.choice((None, "A film", "Another")),
    "image": lambda rng: rng.choice((None, *IMAGES)),
    "segments": lambda rng: [_segment(rng) for _ in range(rng.randint(1, 4))],
    "settings": lambda rng: _one_of(rng, tuple(SETTINGS)),
    "name": lambda rng: f"{rng.randrange(9)}.yaml",
    "folder": lambda rng: f"/home/{rng.randrange(9)}",
}
FRAME_ANCHOR: dict[str, Change] = {
    "segment": lambda rng: rng.randint(1, _REACH),
    "frame": lambda rng: rng.randint(1, _REACH),
}
PREFERENCES: dict[str, Change] = {
    "size": SETTINGS["size"],
    "static_noise": lambda rng: rng.choice(
        ("exact", "input_minus_reference", "reference_minus_input")
    ),
    "dtype": SETTINGS["dtype"],
    "sampling": lambda rng: _sampling(rng),
    "key_frame": lambda rng: rng.choice((None, _sampling(rng))),
}
CHANGES = {
    "Storyboard": STORYBOARD,
    "Segment": SEGMENT,
    "Settings": SETTINGS,
    "Guidance": GUIDANCE,
    "KeyFrame": KEY_FRAME,
    "FrameAnchor": FRAME_ANCHOR,
    "Preferences": PREFERENCES,
}
MODELS = {
    "Storyboard": Storyboard,
    "Segment": Segment,
    "Settings": Settings,
    "Guidance": GuidanceSettings,
    "KeyFrame": KeyFrameSettings,
    "FrameAnchor": FrameAnchor,
    "Preferences": Preferences,
}


@dataclass
class Case:
    """A film; what flags (`over`) and environment (`under`) say; which picture each path shows;
    and what the model likes (its Preferences)."""

    film: Film
    over: Film = field(default_factory=dict)
    under: Film = field(default_factory=dict)
    shows: dict[str, str] = field(default_factory=lambda: dict.fromkeys(IMAGES, SHOWN[0]))
    likes: Film = field(
        default_factory=lambda: {
            "size": list(MODEL.size), "sampling": dataclasses.asdict(SAMPLING)
        }
    )  # fmt: skip

    def said(self, where: str) -> Film:
        """Return the settings that the "film", "over" or "under" say, to be changed in place."""
        if where == "film":
            settings: Film = self.film.setdefault("settings", {})
            return settings
        return self.over if where == "over" else self.under


def some_case(rng: Random) -> Case:
    """Return a film of one to three segments, of which now and then something else is said."""
    film: Film = {"segments": [_segment(rng) for _ in range(rng.randint(1, 3))]}
    for name in rng.sample(("title", "image", "settings"), rng.randrange(3)):
        film[name] = STORYBOARD[name](rng)
    over, under = (
        _one_of(rng, tuple(SETTINGS)) if rng.random() < 0.25 else {} for _ in ("flags", "files")
    )
    return Case(film, over, under, {name: rng.choice(SHOWN) for name in IMAGES})


def differ(before: Case, after: Case) -> bool:
    """Tell whether a change says anything else than was said, be it 3.0 where there was 3."""
    return repr(before) != repr(after)


def change(rng: Random, case: Case, where: str, name: str) -> tuple[Case, Case, str]:
    """Return a case before and after the field `name` of the class `where` changes, and what did.

    The case before has what there must be for that: a frame as anchor, a model for key frames.
    """
    before, value = deepcopy(case), CHANGES[where][name](rng)
    layer = rng.choice(("film", "film", "over", "under"))
    if where == "KeyFrame":  # a film that has no such model has none of its fields either
        before.said(layer).setdefault("key_frame", {"model": "painter"})
    if where == "FrameAnchor":
        _anchor_a_frame(rng, before.film)
    after = deepcopy(before)
    match where:
        case "Storyboard":
            after.film[name] = value
        case "Segment":
            rng.choice(after.film["segments"])[name] = value
        case "FrameAnchor":
            after.film["segments"][-1]["anchor"][name] = value
        case "Preferences":
            after.likes[name] = value
        case "Settings":
            after.said(layer)[name] = value
        case _:
            table = "guidance" if where == "Guidance" else "key_frame"
            after.said(layer).setdefault(table, {})[name] = value
    return before, after, f"{where}.{name} = {value!r} ({layer}) in {before}"


def change_picture(rng: Random, case: Case) -> tuple[Case, Case, str]:
    """Return a case before and after an anchor's file is given other bytes, or another name."""
    before, (name, other) = deepcopy(case), rng.sample(IMAGES, 2)
    number = rng.randrange(len(before.film["segments"]))
    before.film["segments"][number] |= {"anchor": name, "frames": 2}
    after = deepcopy(before)
    if rng.random() < 0.5:
        after.shows[name] = rng.choice(SHOWN)
        return before, after, f"{name} shows {after.shows[name]} in {before}"
    after.film["segments"][number]["anchor"] = other
    return before, after, f"{other} for {name} in segment {number} of {before}"


def _anchor_a_frame(rng: Random, film: Film) -> None:
    """Add a segment with a frame as anchor, behind others that have the frames to choose from."""
    segments = film["segments"]
    segments += [_segment(rng) for _ in range(_REACH - len(segments))]
    for segment in segments:
        segment["frames"] = max(_REACH, segment["frames"])
    anchor = {name: some(rng) for name, some in FRAME_ANCHOR.items()}
    segments.append({"prompt": "a cat walks", "frames": 2, "anchor": anchor})


def _segment(rng: Random) -> Film:
    segment: Film = {"prompt": SEGMENT["prompt"](rng), "frames": rng.randint(1, 5)}
    for name in rng.sample(sorted(SEGMENT), rng.randrange(3)):
        segment[name] = SEGMENT[name](rng)
    return segment


def _one_of(rng: Random, names: tuple[str, ...]) -> Film:
    name = rng.choice(names)
    return {name: SETTINGS[name](rng)}


def _sampling(rng: Random) -> Film:
    """Return how a model may like its frames: as the stand-in does, but for one thing."""
    said: Film = dataclasses.asdict(SAMPLING)
    name = rng.choice(sorted(said))
    if name == "guidance":
        scale = rng.choice(sorted(GUIDANCE))
        said["guidance"][scale] = GUIDANCE[scale](rng)
        interval = said["guidance"]["interval"]
        said["guidance"]["interval"] = (0, 999) if isinstance(interval, str) else tuple(interval)
    else:
        said[name] = SETTINGS[name](rng)
    return said
