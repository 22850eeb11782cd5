"""The bits of a case's targets by their keys, drawn by any engine without any cache."""

from __future__ import annotations

import dataclasses
import hashlib
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import numpy as np
from standin import StandInEngine

from artv_cli.engine import Engine, FrameRequest, PictureRequest
from artv_cli.key_frames import find_key_frame_models
from artv_cli.latents import Latents, Pixels
from artv_cli.model.text_to_image import TextToImageFolder
from artv_cli.plan import FramePlan, ModelIdentity, RenderPlan, make_plan
from artv_cli.settings import Settings
from artv_cli.storyboard import Storyboard
from benchmarks.trust.changes import Case, Film
from benchmarks.trust.proof import expect

PAINTER = TextToImageFolder(
    name="painter", path=Path("painter"), fingerprint="p" * 64, networks={}, side=32
)


class ReadingEngine(StandInEngine):
    """Reads what the real engine reads: a drawn key frame has no reference and no anchor."""

    def key_frame(self, request: FrameRequest) -> Latents:
        guidance = dataclasses.replace(request.sampling.guidance, reference=0.0, anchor=0.0)
        sampling = dataclasses.replace(request.sampling, guidance=guidance)
        return super().key_frame(dataclasses.replace(request, sampling=sampling))


def plan_of(case: Case, model: ModelIdentity) -> RenderPlan:
    """Return the plan of a case; images are known by the digests of what they show."""
    board = Storyboard.model_validate(_mended(case.film))
    over, under = (Settings.model_validate(_exact(said)) for said in (case.over, case.under))
    with patch("artv_cli.key_frames.find_text_to_image", lambda *asked: PAINTER):
        key_frames = find_key_frame_models(board, over, under)
    digests = {path: _digest(shown) for path, shown in case.shows.items()}
    return make_plan(board, model, digests, key_frames=key_frames, over=over, under=under)


def bits_of(case: Case, plan: RenderPlan, engine: Engine) -> dict[str, str]:
    """Return the digest of every target's bits by its key."""
    made: dict[str, Latents] = {}
    pictures: dict[str, Pixels] = {}
    for target in plan.targets:
        if target.drawing is not None:
            pictures[target.key] = _painted(target.drawing)
        else:
            made[target.key] = _made(target, case, plan, engine, made, pictures)
    bits = {key: f"{latents.dtype} {latents.shape} " for key, latents in made.items()}
    bits = {key: _digest(bits[key].encode() + made[key].data) for key in made}
    return bits | {key: _digest(picture.tobytes()) for key, picture in pictures.items()}


def expect_agreement(one: dict[str, str], two: dict[str, str], what: str) -> None:
    """Every key stands for one picture and every picture for one key, in both films together."""
    expect_sound(one, two, what)
    pairs = {*one.items(), *two.items()}
    expect(len({bits for _, bits in pairs}) == len(pairs), f"{what}: the same bits, another key")


def expect_sound(one: dict[str, str], two: dict[str, str], what: str) -> None:
    """Every key stands for one picture, in both films together."""
    for key in one.keys() & two.keys():
        expect(one[key] == two[key], f"{what}: the same key, other bits")


def kinds_of(before: RenderPlan, after: RenderPlan) -> dict[str, int]:
    """Return which kind of proof a change is: one that the keys went with, or not."""
    keys = [[target.key for target in plan.targets] for plan in (before, after)]
    return {"with the same key" if keys[0] == keys[1] else "with another key": 1}


def _made(
    target: FramePlan,
    case: Case,
    plan: RenderPlan,
    engine: Engine,
    made: dict[str, Latents],
    pictures: dict[str, Pixels],
) -> Latents:
    if target.picture is not None:
        return engine.encode(pictures[target.picture])
    if target.request is None:
        return engine.encode(_noise(case.shows[str(target.image)], plan.size))
    if target.references is None:
        return engine.key_frame(target.request)
    one, two = (made[key] for key in target.references)
    return engine.next_frame(target.request, (one, two), made[str(target.anchor)])


def _painted(request: PictureRequest) -> Pixels:
    """Return a picture that all of a request decides."""
    return _noise(repr(request), request.size)


def _noise(shown: str, size: tuple[int, int]) -> Pixels:
    numbers = np.random.default_rng(list(hashlib.sha256(shown.encode()).digest()))
    return numbers.integers(0, 256, (size[1], size[0], 3), np.uint8)


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _mended(film: Film) -> Film:
    """Return the film without what a storyboard would be refused for, so that it has a plan."""
    segments = [dict(segment) for segment in film["segments"]]
    for number, segment in enumerate(segments):
        if number == 0 or segment.get("start") != "cut":
            segment.pop("image", None)
    return {**film, "segments": segments, "settings": _exact(film.get("settings", {}))}


def _exact(settings: Film) -> Film:
    """Return settings with the frame rate as a storyboard's reader gives it."""
    fps = settings.get("fps")
    return {**settings, "fps": Fraction(fps)} if isinstance(fps, str) else settings
