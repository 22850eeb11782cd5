"""The right key before the one judge that nobody instructed: a model that draws real frames.

It is tiny, and each case changes one thing in a story of three frames. A story keeps all its keys
just where it keeps all its bits, and no key ever stands for two frames. Only values are tried that
a model tells apart: two intervals of timesteps with no sampled one between them make one film.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from artv_cli.keys import CLASSIFIED
from artv_cli.model.folder import ModelFolder, Preferences
from artv_cli.plan import ModelIdentity, RenderPlan
from benchmarks.trust.bits import bits_of, expect_sound, kinds_of, plan_of
from benchmarks.trust.changes import IMAGES, SHOWN, Case, differ
from benchmarks.trust.proof import Check, expect

SEGMENTS: list[dict[str, Any]] = [
    {"prompt": "a cat walks", "frames": 2},
    {"prompt": "a rocket flies", "frames": 1, "anchor": "cat.png"},
]
# What a field may become; what the story has as it is stands among it, in one spelling or another.
VALUES: dict[str, tuple[Any, ...]] = {
    "Settings.seed": (0, 1, 2**63 - 1),
    "Settings.steps": (3, 1, 2, 4),
    "Settings.sampler": ("dpmpp_2m", "euler", "dpmpp_2s_ancestral"),
    "Settings.noise_level": (200, 0, 201, 999),
    "Settings.size": ([32, 32], [32, 64], [64, 32]),
    "Settings.dtype": ("float32", "bfloat16"),
    "Settings.fps": (8, 24),
    "Settings.strict": (True, False),
    "Settings.cache": ("/tmp/elsewhere",),
    "Guidance.text": (3, 3.0, 0, 1.5, 7.5),
    "Guidance.reference": (0.25, 0, -0.0, 0.5),
    "Guidance.anchor": (0.25, 0, 0.5),
    "Guidance.on": ("dynamic", "composed"),
    "Guidance.rescale": (0, -0.0, 0.7, 1),
    "Guidance.interval": ([0, 999], [0, 500], [500, 999], [999, 999]),
    "Segment.prompt": ("a rocket flies", "a cat flies", "the rocket flies"),
    "Segment.frames": (1, 2),
    "Segment.start": ("continue", "cut"),
    "Segment.anchor": ("cat.png", "copy.png", "dog.png", "first", {"segment": 1, "frame": 2}),
    "Segment.fade": (0, 1),
    "Segment.narration": (None, "And then"),
    "Storyboard.title": (None, "A film"),
    "Storyboard.image": (None, "cat.png", "dog.png"),
    "Preferences.static_noise": ("exact", "input_minus_reference", "reference_minus_input"),
    "Preferences.dtype": ("float32", "bfloat16"),
    "Preferences.size": ([32, 32], [64, 32]),
    "Preferences.sampling": ({}, {"steps": 2}, {"noise_level": 0}, {"sampler": "euler"}),
    "Preferences.key_frame": (None, {"steps": 2}, {"sampler": "euler"}),
}


def drawn_mutations(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a change of every field in turn, for ever; the model is written at the first."""
    painter = _Painter(folder)
    rng = Random(f"drawn {seed}")
    for field in itertools.cycle(sorted(VALUES, key=lambda _: rng.random())):
        yield partial(_keys_change_where_bits_do, painter, field, Random(rng.random()))


def _keys_change_where_bits_do(
    painter: _Painter, field: str, rng: Random, _: Path
) -> dict[str, int]:
    value = rng.choice(VALUES[field])
    layer = rng.choice(("film", "over", "under"))
    case = Case(
        {"segments": deepcopy(SEGMENTS)},
        shows=dict(zip(IMAGES, (SHOWN[0], SHOWN[0], SHOWN[1]), strict=True)),
        likes=painter.likes,
    )
    changed = _changed(case, field, value, layer)
    if not differ(case, changed):
        return {}
    what = f"{field} = {value!r} ({layer}), drawn"
    (plan, bits), (other_plan, other_bits) = painter.draw(case), painter.draw(changed)
    expect_sound(bits, other_bits, what)
    keys, other_keys = ([frame.key for frame in one.frames] for one in (plan, other_plan))
    is_same = [bits[key] for key in keys] == [other_bits[key] for key in other_keys]
    expect((keys == other_keys) == is_same, f"{what}: {'the same' if is_same else 'other'} bits")
    name, _, of = field.partition(".")
    if CLASSIFIED[name][of] == "not in the key" and of != "frames":
        expect(is_same, f"{what}: changes the bits after all")
    return kinds_of(plan, other_plan)


def _changed(case: Case, field: str, value: Any, layer: str) -> Case:
    after = deepcopy(case)
    where, _, name = field.partition(".")
    match where:
        case "Settings":
            after.said(layer)[name] = value
        case "Guidance":
            after.said(layer)["guidance"] = {name: value}
        case "Segment":
            after.film["segments"][-1][name] = value
        case "Storyboard":
            after.film[name] = value
        case _ if isinstance(value, dict):
            after.likes[name] = after.likes["sampling"] | value
        case _:
            after.likes[name] = value
    return after


class _Painter:
    """A tiny model that draws whole cases; what it has drawn as it is, it remembers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: ModelFolder | None = None
        self._engines: dict[tuple[str, str], Any] = {}
        self._drawn: dict[str, tuple[RenderPlan, dict[str, str]]] = {}

    @property
    def likes(self) -> dict[str, Any]:
        """The preferences that the model is written with."""
        return self._model().preferences.model_dump(mode="json")

    def draw(self, case: Case) -> tuple[RenderPlan, dict[str, str]]:
        """Return the case's plan and the bits of every target by its key."""
        name = repr(case)
        if name not in self._drawn:
            model = self._liking(Preferences.model_validate(case.likes))
            plan = plan_of(case, ModelIdentity.of(model))
            self._drawn[name] = plan, bits_of(case, plan, self._engine(model, plan))
        return self._drawn[name]

    def _model(self) -> ModelFolder:
        if self._found is None:
            from tiny import tiny_folder

            from artv_cli.model.folder import find_model

            self._found = find_model(str(tiny_folder(self._folder)))
        return self._found

    def _liking(self, likes: Preferences) -> ModelFolder:
        """Return the model with other preferences, as it would be found with them in its index."""
        from artv_cli.model.folder import fingerprint

        model = self._model()
        return replace(model, preferences=likes, fingerprint=fingerprint(model.path, likes, None))

    def _engine(self, model: ModelFolder, plan: RenderPlan) -> Any:
        """Return an engine of the model: one for each that reads or computes otherwise."""
        from artv_cli.artv_engine import load_engine

        how = model.preferences.static_noise, plan.dtype
        if how not in self._engines:
            self._engines[how] = load_engine(model, device="cpu", dtype=plan.dtype)
        return self._engines[how]
