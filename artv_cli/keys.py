"""What decides a frame's bits, and the key that follows from it.

::

    key = SHA-256(canonical JSON of the ingredients)

    role     ingredients besides epoch, size, dtype and, but for a picture, model; where the
             autoencoder works in tiles, their side as well
    image    digest of the picture
    key      prompt, seed of the frame, sampler, steps, noise level, scale and place of guidance;
             where guidance is rescaled, or works in an interval of timesteps alone, that as well
    next     the same, scales of reference and anchor, keys of both references, key of the anchor
    picture  the text-to-image model, prompt, seed of the frame, size at which it draws, steps and
             guidance that were asked of it; it is not shown, but what follows is encoded from it
    painted  the same: a key frame that is such a picture

Equal keys mean equal bits in the same environment, whoever asks for them. What only concerns the
video (frame rate, fades, narration, title) is in no key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from artv_cli.engine import FrameRequest, PictureRequest
from artv_cli.setting_tables import ALL_TIMESTEPS
from artv_cli.settings import Guidance, Sampling
from artv_cli.tiles import tile_side

EPOCH = 1
"""Of the maths: raised when a release makes other bits from the same ingredients."""

Role = Literal["image", "key", "next", "picture", "painted"]
Ingredients = Mapping[str, Any]
Standing = Literal["in the key", "not in the key"]

CLASSIFIED: Mapping[str, Mapping[str, Standing]] = {
    "Storyboard": {
        "title": "not in the key",
        "image": "in the key",  # by the digest of its bytes, never by its path
        "segments": "in the key",
        "settings": "in the key",
        "name": "not in the key",
        "folder": "not in the key",
    },
    "Segment": {
        "prompt": "in the key",
        "frames": "not in the key",  # how many frames there are changes none of them
        "settings": "in the key",
        "start": "in the key",  # by the references: none, or the two frames before
        "anchor": "in the key",
        "image": "in the key",
        "fade": "not in the key",
        "narration": "not in the key",
    },
    "Settings": {
        "model": "not in the key",  # names lie: the fingerprint of the weights is in the key
        "revision": "not in the key",
        "variant": "not in the key",
        "dtype": "in the key",
        "device": "not in the key",  # part of the environment, which the entry records
        "offload": "not in the key",  # the same kernels see the same weights
        "seed": "in the key",
        "size": "in the key",
        "fps": "not in the key",
        "steps": "in the key",
        "sampler": "in the key",
        "noise_level": "in the key",
        "guidance": "in the key",
        "key_frame": "in the key",
        "cache": "not in the key",
        "max_cache_size": "not in the key",
        "strict": "not in the key",
    },
    "Guidance": {
        "text": "in the key",
        "reference": "in the key",
        "anchor": "in the key",
        "on": "in the key",
        "rescale": "in the key",
        "interval": "in the key",
    },
    "KeyFrame": {
        "model": "not in the key",  # as above: the fingerprint of its weights is
        "revision": "not in the key",
        "variant": "not in the key",
        "steps": "in the key",
        "guidance": "in the key",
    },
    "FrameAnchor": {  # by the key of the frame that they name
        "segment": "in the key",
        "frame": "in the key",
    },
    "Preferences": {  # of a model
        "size": "in the key",
        "static_noise": "in the key",  # by the fingerprint
        "dtype": "in the key",
        "sampling": "in the key",
        "key_frame": "in the key",
    },
}
"""Whether a change of the field can change a key; a test fails on a field that is missing."""


def frame_seed(seed: int, chain_index: int) -> int:
    """Return the seed of one frame, in [0, 2**63).

    It depends on the storyboard's seed and on the place in the chain alone, so a chain may be
    lengthened, resumed, or moved behind another one without a change to its noise.
    """
    digest = hashlib.sha256(f"artv-frame-v1 {seed} {chain_index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def key_of(ingredients: Ingredients) -> str:
    """Return the SHA-256, in hexadecimal, of the ingredients' canonical JSON."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def ground_ingredients(fingerprint: str, size: tuple[int, int], dtype: str) -> Ingredients:
    """Return what all frames of a film share; `size` is (width, height).

    Frames that are not tiled keep the keys from before any were.
    """
    tile = tile_side(size)
    tiles = {} if tile is None else {"tile": tile}
    return {"epoch": EPOCH, "model": fingerprint, "size": list(size), "dtype": dtype, **tiles}


def image_ingredients(ground: Ingredients, digest: str) -> Ingredients:
    """Return what decides a frame that is a given picture: neither prompt nor seed."""
    return {**ground, "role": "image", "image": digest}


def picture_ingredients(request: PictureRequest) -> Ingredients:
    """Return what decides the picture of a text-to-image model: nothing of the video's model."""
    return {
        "epoch": EPOCH,
        "size": list(request.size),
        "dtype": request.dtype,
        "role": "picture",
        "key frame model": request.model,
        "prompt": request.prompt,
        "seed": request.seed,
        "drawn size": list(request.drawn_size),
        "key frame steps": request.steps,
        "key frame guidance": request.guidance,
    }


def painted_ingredients(ground: Ingredients, request: PictureRequest) -> Ingredients:
    """Return what decides a key frame that is encoded from such a picture."""
    return {**picture_ingredients(request), **ground, "role": "painted"}


def key_frame_ingredients(ground: Ingredients, request: FrameRequest) -> Ingredients:
    """Return what decides a drawn key frame.

    Its references and its anchor are blank: their branches do not run, their scales do not count.
    """
    guidance = request.sampling.guidance
    return {**ground, "role": "key", **_drawn(request), **_moderated(guidance, guidance.text)}


def next_frame_ingredients(
    ground: Ingredients, request: FrameRequest, references: tuple[str, str], anchor: str
) -> Ingredients:
    """Return what decides a frame that follows others: `references` and `anchor` are their keys."""
    guidance = request.sampling.guidance
    return {
        **ground,
        "role": "next",
        **_drawn(request),
        **_moderated(guidance, guidance.text, guidance.reference, guidance.anchor),
        "reference scale": float(guidance.reference),
        "anchor scale": float(guidance.anchor),
        "references": list(references),
        "anchor": anchor,
    }


def request_of(ingredients: Ingredients) -> FrameRequest:
    """Return the request for a drawn frame that was made from `ingredients`: their inverse.

    The scales of branches that did not run, those of a key frame, are 0, and what moderates no
    branch is as if unsaid. Raises LookupError where something is missing, as it is for an image.
    """
    width, height = ingredients["size"]
    guidance = Guidance(
        text=ingredients["text scale"],
        reference=ingredients.get("reference scale", 0.0),
        anchor=ingredients.get("anchor scale", 0.0),
        on=ingredients["guidance on"],
        rescale=ingredients.get("guidance rescale", Guidance.rescale),
        interval=tuple(ingredients.get("guidance interval", ALL_TIMESTEPS)),
    )
    how = Sampling(
        sampler=ingredients["sampler"],
        steps=ingredients["steps"],
        guidance=guidance,
        noise_level=ingredients["noise level"],
    )
    return FrameRequest(ingredients["prompt"], ingredients["seed"], (width, height), how)


def _moderated(guidance: Guidance, *scales: float) -> dict[str, Any]:
    """Return what moderates guidance with the `scales` of the branches that may run.

    Nothing where none runs, nor what is off: frames from before there was any keep their keys.
    """
    told: dict[str, Any] = {}
    if any(scales) and guidance.rescale != 0:
        told["guidance rescale"] = float(guidance.rescale)
    if any(scales) and guidance.interval != ALL_TIMESTEPS:
        told["guidance interval"] = list(guidance.interval)
    return told


def _drawn(request: FrameRequest) -> dict[str, Any]:
    how = request.sampling
    return {
        "prompt": request.prompt,
        "seed": request.seed,
        "sampler": how.sampler,
        "steps": how.steps,
        "noise level": how.noise_level,
        "text scale": float(how.guidance.text),
        "guidance on": how.guidance.on,
    }
