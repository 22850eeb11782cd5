"""The right key: one field or one weight is changed, and a key changes just where the bits do.

The bits are those of an engine that reads all that a real one reads: the request, the frames
before, the pictures, and every byte of the weights and configs. What that engine takes for the
same, somebody has told it; so every now and then a real model is the judge (`drawn_mutations`).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from standin import MODEL

from artv_cli.keys import CLASSIFIED
from artv_cli.model.folder import Preferences, fingerprint
from artv_cli.plan import ModelIdentity, RenderPlan
from benchmarks.trust.bits import ReadingEngine, bits_of, expect_agreement, kinds_of, plan_of
from benchmarks.trust.changes import (
    CHANGES,
    MODELS,
    Case,
    change,
    change_picture,
    differ,
    some_case,
)
from benchmarks.trust.drawn_mutations import drawn_mutations
from benchmarks.trust.proof import Check, expect, randoms

CLASSES = (
    *CHANGES,
    "Segment",
    "Segment",
    "Settings",
    "picture",
    "picture",
)  # some have more to change
BOTH = (None, "fp16")
FILES: dict[str, tuple[str | None, ...]] = {  # of a model, and which variants of it read them
    "model_index.json": (),  # what it says of `artv` counts, its bytes do not
    "README.md": (),
    "dynamic/config.json": BOTH,
    "dynamic/diffusion_pytorch_model.safetensors.index.json": BOTH,
    "dynamic/diffusion_pytorch_model-00001-of-00002.safetensors": BOTH,
    "dynamic/diffusion_pytorch_model-00002-of-00002.safetensors": BOTH,
    "mask/config.json": BOTH,
    "mask/diffusion_pytorch_model.safetensors": BOTH,
    "vae/config.json": BOTH,
    "vae/diffusion_pytorch_model.safetensors": (None,),
    "vae/diffusion_pytorch_model.fp16.safetensors": ("fp16",),
    "vae/diffusion_pytorch_model.bin": (),
    "text_encoder/config.json": BOTH,
    "text_encoder/model.safetensors": BOTH,
    "tokenizer/tokenizer_config.json": BOTH,
    "tokenizer/tokenizer.json": BOTH,
    "tokenizer/merges.txt": BOTH,
    "scheduler/scheduler_config.json": BOTH,
}
_DRAWN_EVERY = 50  # checks: real frames take time


def unclassified() -> set[str]:
    """Return the fields that nobody has said of whether they are in the key, or that none mutates.

    Fields that were classified and are gone count as well.
    """
    named = {f"{name}.{field}" for name, model in MODELS.items() for field in model.model_fields}
    classified = {f"{name}.{field}" for name, fields in CLASSIFIED.items() for field in fields}
    mutated = {f"{name}.{field}" for name, fields in CHANGES.items() for field in fields}
    return (named ^ classified) | (named ^ mutated)


class Weights(NamedTuple):
    """A model's folder and its variant."""

    path: Path
    variant: str | None = None


def mutations(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a case and the same with one thing changed; every fourth time, a changed model.

    They are told apart by whether a key changed with it. What drew the value that was there is no
    proof.
    """
    expect(not (fields := unclassified()), f"unclassified: {sorted(fields)}")
    model = Weights(_model_folder(folder / "model"))
    drawn = drawn_mutations(seed, folder)
    for number, rng in enumerate(randoms(seed)):
        if number % _DRAWN_EVERY == _DRAWN_EVERY - 1:
            yield next(drawn)
        elif number % 4 == 3:
            yield partial(_weights_change_both_or_neither, rng, some_case(rng), model.path)
        else:
            yield partial(_change_both_or_neither, rng, some_case(rng), model)


def _change_both_or_neither(rng: Random, case: Case, model: Weights, _: Path) -> dict[str, int]:
    where = rng.choice(CLASSES)
    name = "" if where == "picture" else rng.choice(sorted(CHANGES[where]))
    changed = change_picture(rng, case) if not name else change(rng, case, where, name)
    before, after, what = changed
    if not differ(before, after):
        return {}
    plans = [_plan(one, model) for one in (before, after)]
    bits = [_bits(one, plan, model) for one, plan in zip((before, after), plans, strict=True)]
    expect_agreement(*bits, what)
    kinds = kinds_of(*plans)
    if name and CLASSIFIED[where][name] == "not in the key" and name != "frames":
        expect("with the same key" in kinds, f"{what}: is in the key after all")
    return kinds


def _weights_change_both_or_neither(
    rng: Random, case: Case, model: Path, place: Path
) -> dict[str, int]:
    copy = place / str(rng.randrange(99))
    shutil.copytree(model, copy)
    variant = rng.choice(BOTH)
    name, other = rng.sample(sorted(FILES), 2)
    how = rng.choice(sorted(DAMAGES))
    is_read = variant in FILES[name]
    data, instead = (copy / name).read_bytes(), (copy / other).read_bytes()
    (copy / name).write_bytes(damaged := DAMAGES[how](rng, data, instead))
    if how == "swapped":
        (copy / other).write_bytes(data)
        is_read = is_read or variant in FILES[other]
    what = f"{name}: {how} ({other}), variant {variant}"
    weights = [Weights(path, variant) for path in (model, copy)]
    plans = [_plan(case, one) for one in weights]
    bits = [_bits(case, plan, one) for plan, one in zip(plans, weights, strict=True)]
    expect_agreement(*bits, what)
    went = plans[0].fingerprint != plans[1].fingerprint
    expect(went == (is_read and damaged != data), f"{what}: {'seen' if went else 'went unseen'}")
    return kinds_of(*plans)


def _flipped(rng: Random, data: bytes, _: bytes) -> bytes:
    flipped = bytearray(data)
    flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


DAMAGES = {
    "a bit": _flipped,
    "a byte more": lambda _rng, data, _: data + b"\0",
    "a byte less": lambda _rng, data, _: data[:-1],
    "swapped": lambda _rng, _data, other: other,
    "only its date": lambda _rng, data, _: data,
}


def _plan(case: Case, model: Weights) -> RenderPlan:
    likes = Preferences.model_validate(case.likes)
    identity = ModelIdentity(
        fingerprint=fingerprint(model.path, likes, model.variant),
        size=likes.size,
        size_multiple=MODEL.size_multiple,
        sampling=likes.sampling,
        key_sampling=likes.key_sampling,
        dtype=likes.dtype,
    )
    return plan_of(case, identity)


def _bits(case: Case, plan: RenderPlan, model: Weights) -> dict[str, str]:
    """Return the bits that an engine draws which reads all that a model's files say."""
    static_noise = Preferences.model_validate(case.likes).static_noise
    read = hashlib.sha256()
    for name in sorted(name for name, variants in FILES.items() if model.variant in variants):
        read.update(
            f"{name} {hashlib.sha256((model.path / name).read_bytes()).hexdigest()}".encode()
        )
    engine = ReadingEngine(salt=f"{read.hexdigest()} {static_noise} {plan.dtype}")
    return bits_of(case, plan, engine)


def _model_folder(path: Path) -> Path:
    """Write a folder with the files that a model has; nobody will load it."""
    rng = Random(0)
    for name in FILES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(rng.randbytes(200))
    return path
