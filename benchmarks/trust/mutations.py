"""The right key: one field or one weight is changed, and a key changes just where the bits do.

The bits are those of an engine that reads all that a real one reads: the request, the frames
before, the pictures, and every byte of the weights and configs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
from standin import MODEL, SAMPLING, StandInEngine

from artv_cli.engine import FrameRequest, PictureRequest
from artv_cli.key_frames import find_key_frame_models
from artv_cli.keys import CLASSIFIED
from artv_cli.latents import Latents, Pixels
from artv_cli.model.folder import PARTS, WEIGHTED_PARTS, Preferences, fingerprint
from artv_cli.model.text_to_image import TextToImageFolder
from artv_cli.plan import ModelIdentity, RenderPlan, make_plan
from artv_cli.setting_tables import GuidanceSettings, KeyFrameSettings
from artv_cli.settings import Settings
from artv_cli.storyboard import Segment, Storyboard
from benchmarks.trust.proof import Check, expect, randoms

IMAGES = {
    f"{name}.png": hashlib.sha256(name.encode()).hexdigest() for name in ("cat", "dog", "owl")
}
ANCHORS = (None, "first", "key", "cat.png", "dog.png", {"segment": 1, "frame": 1})
PAINTER = TextToImageFolder(
    name="painter", path=Path("painter"), fingerprint="p" * 64, networks={}, side=32
)
Film = dict[str, Any]
Change = Callable[[Random], Any]

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
CHANGES = {
    "Storyboard": STORYBOARD,
    "Segment": SEGMENT,
    "Settings": SETTINGS,
    "Guidance": GUIDANCE,
    "KeyFrame": KEY_FRAME,
}


def unclassified() -> set[str]:
    """Return the fields that nobody has said of whether they are in the key, or that none mutates.

    Fields that were classified and are gone count as well.
    """
    models = {
        "Storyboard": Storyboard,
        "Segment": Segment,
        "Settings": Settings,
        "Guidance": GuidanceSettings,
        "KeyFrame": KeyFrameSettings,
    }
    named = {f"{name}.{field}" for name, model in models.items() for field in model.model_fields}
    classified = {f"{name}.{field}" for name, fields in CLASSIFIED.items() for field in fields}
    mutated = {f"{name}.{field}" for name, fields in CHANGES.items() for field in fields}
    return (named ^ classified) | (named ^ mutated)


class ReadingEngine(StandInEngine):
    """Reads what the real engine reads: a drawn key frame has no reference and no anchor."""

    def key_frame(self, request: FrameRequest) -> Latents:
        guidance = dataclasses.replace(request.sampling.guidance, reference=0.0, anchor=0.0)
        sampling = dataclasses.replace(request.sampling, guidance=guidance)
        return super().key_frame(dataclasses.replace(request, sampling=sampling))


def mutations(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a story and the same with one thing changed; every fourth time, a changed model."""
    expect(not (fields := unclassified()), f"unclassified: {sorted(fields)}")
    model = _model_folder(folder / "model")
    for number, rng in enumerate(randoms(seed)):
        film = _film(rng)
        if number % 4 == 3:
            yield partial(_weights_change_both_or_neither, rng, film, model)
        else:
            yield partial(_change_both_or_neither, rng, film)


def _change_both_or_neither(rng: Random, film: Film, _: Path) -> None:
    where = rng.choice(("Storyboard", "Segment", "Segment", "Settings", "Guidance", "KeyFrame"))
    field = rng.choice(sorted(CHANGES[where]))
    value = CHANGES[where][field](rng)
    changed: Film = json.loads(json.dumps(film))
    settings = changed.setdefault("settings", {})
    if where == "Storyboard":
        changed[field] = value
    elif where == "Segment":
        rng.choice(changed["segments"])[field] = value
    elif where == "Settings":
        settings[field] = value
    elif where == "Guidance":
        settings["guidance"] = settings.get("guidance", {}) | {field: value}
    else:  # a film that has no such model has none of its fields either
        told = film.setdefault("settings", {}).setdefault("key_frame", {"model": "painter"})
        settings["key_frame"] = told | {field: value}
    what = f"{where}.{field} = {value!r} in {film}"
    _expect_agreement(_bits(film, MODEL), _bits(changed, MODEL), what)
    standing = CLASSIFIED[where][field]
    if standing == "not in the key" and field != "frames":
        expect(_keys(film) == _keys(changed), f"{what}: is in the key after all")


def _weights_change_both_or_neither(rng: Random, film: Film, model: Path, place: Path) -> None:
    copy = place / str(rng.randrange(99))
    shutil.copytree(model, copy)
    file = rng.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
    how = rng.choice(("a bit", "a byte more", "a byte less", "only its date", "the folder's name"))
    data = bytearray(file.read_bytes())
    if how == "a bit":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "a byte more":
        data.append(0)
    elif how == "a byte less":
        del data[-1]
    file.write_bytes(data)
    before, after = (_identity(path) for path in (model, copy))
    what = f"{file.relative_to(copy)}: {how}"
    bits = [_bits(film, identity, weights) for identity, weights in (before, after)]
    _expect_agreement(*bits, what)
    changed = how not in ("only its date", "the folder's name")
    expect((before[0].fingerprint != after[0].fingerprint) == changed, f"{what}: went unseen")


def _expect_agreement(one: Mapping[str, str], two: Mapping[str, str], what: str) -> None:
    """Every key stands for one picture and every picture for one key, in both films together."""
    for key in one.keys() & two.keys():
        expect(one[key] == two[key], f"{what}: the same key, other bits")
    pairs = {*one.items(), *two.items()}
    expect(len({bits for _, bits in pairs}) == len(pairs), f"{what}: the same bits, another key")


def _bits(film: Film, model: ModelIdentity, weights: str = "") -> dict[str, str]:
    """Return the bits of every target by its key, drawn without any cache."""
    plan = _plan(film, model)
    engine = ReadingEngine(salt=f"{weights} {plan.dtype}")
    made: dict[str, Latents] = {}
    pictures: dict[str, Pixels] = {}
    for target in plan.targets:
        if target.drawing is not None:
            pictures[target.key] = _drawn(target.drawing)
        elif target.picture is not None:
            made[target.key] = engine.encode(pictures[target.picture])
        elif target.request is None:
            made[target.key] = engine.encode(_picture(str(target.image), plan))
        elif target.references is None:
            made[target.key] = engine.key_frame(target.request)
        else:
            one, two = (made[key] for key in target.references)
            made[target.key] = engine.next_frame(
                target.request, (one, two), made[str(target.anchor)]
            )
    bits = {key: f"{latents.shape} {latents.data.hex()}" for key, latents in made.items()}
    return bits | {key: picture.tobytes().hex() for key, picture in pictures.items()}


def _keys(film: Film) -> list[str]:
    return [target.key for target in _plan(film, MODEL).targets]


def _plan(film: Film, model: ModelIdentity) -> RenderPlan:
    film = _mended(film)
    settings = dict(film.get("settings", {}))
    if isinstance(fps := settings.get("fps"), str):
        settings["fps"] = Fraction(fps)
    board = Storyboard.model_validate({**film, "settings": settings})
    with patch("artv_cli.key_frames.find_text_to_image", lambda *asked: PAINTER):
        key_frames = find_key_frame_models(board, Settings(), Settings())
    return make_plan(board, model, IMAGES, key_frames=key_frames)


def _mended(film: Film) -> Film:
    """Return the film without what a storyboard would be refused for, so that it has a plan."""
    segments = [dict(segment) for segment in film["segments"]]
    for number, segment in enumerate(segments):
        if number == 0 or segment.get("start") != "cut":
            segment.pop("image", None)
    return {**film, "segments": segments}


def _picture(name: str, plan: RenderPlan) -> Any:
    seed = int(IMAGES[name][:8], 16)
    width, height = plan.size
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _drawn(request: PictureRequest) -> Pixels:
    """Return a picture that all of a request decides."""
    seed = hashlib.sha256(repr(request).encode()).digest()
    width, height = request.size
    numbers = np.random.default_rng(list(seed))
    return numbers.integers(0, 256, (height, width, 3), np.uint8)


def _film(rng: Random) -> Film:
    film: Film = {"segments": [_segment(rng) for _ in range(rng.randint(1, 3))]}
    for field in rng.sample(("title", "image", "settings"), rng.randrange(3)):
        film[field] = STORYBOARD[field](rng)
    return film


def _segment(rng: Random) -> Film:
    segment: Film = {"prompt": SEGMENT["prompt"](rng), "frames": rng.randint(1, 5)}
    for field in rng.sample(sorted(SEGMENT), rng.randrange(3)):
        segment[field] = SEGMENT[field](rng)
    return segment


def _one_of(rng: Random, names: tuple[str, ...]) -> dict[str, Any]:
    name = rng.choice(names)
    return {name: SETTINGS[name](rng)}


def _model_folder(path: Path) -> Path:
    """Write a folder with the files that a model has; nobody will load it."""
    rng = Random(0)
    for part, config in PARTS.items():
        (path / part).mkdir(parents=True)
        (path / part / config).write_text(json.dumps({"part": part, "width": rng.randrange(999)}))
        if part in WEIGHTED_PARTS:
            name = "model" if part == "text_encoder" else "diffusion_pytorch_model"
            (path / part / f"{name}.safetensors").write_bytes(rng.randbytes(200))
    return path


def _identity(path: Path) -> tuple[ModelIdentity, str]:
    """Return what a plan knows of a model folder, and all that its engine would read."""
    preferences = Preferences(size=MODEL.size, sampling=SAMPLING)
    known = dataclasses.replace(MODEL, fingerprint=fingerprint(path, preferences, None))
    files = sorted(file for file in path.rglob("*") if file.is_file())
    read = b"".join(str(f.relative_to(path)).encode() + b"\0" + f.read_bytes() for f in files)
    return known, hashlib.sha256(read).hexdigest()
