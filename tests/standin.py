"""An engine that costs microseconds and hands on latents as the real one does: each frame's bits
depend, through a hash, on everything that it is told and on every frame that it is given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from artv_cli.engine import FrameRequest, Watch
from artv_cli.latents import Latents, Pixels
from artv_cli.plan import ModelIdentity
from artv_cli.settings import Guidance, Sampling
from artv_cli.storyboard import Storyboard

SAMPLING = Sampling(
    sampler="dpmpp_2m",
    steps=8,
    guidance=Guidance(text=3.0, reference=0.25, anchor=0.25, on="dynamic"),
    noise_level=200,
)
# How the stand-in model folder likes its key frames; `MODEL` has no such wish.
KEY_SAMPLING = replace(SAMPLING, steps=20, guidance=replace(SAMPLING.guidance, text=1.25))
MODEL = ModelIdentity(
    fingerprint="f" * 64,
    size=(32, 16),
    size_multiple=8,
    sampling=SAMPLING,
    key_sampling=SAMPLING,
    dtype="float32",
)
ENVIRONMENT = {"engine": "stand-in 1"}


def story(*segments: dict[str, Any], **film: Any) -> Storyboard:
    """Return a storyboard of segments such as {"prompt": "a cat", "frames": 4}."""
    return Storyboard.model_validate({"segments": list(segments), **film})


@dataclass(frozen=True)
class Call:
    """One thing that the engine was asked for: encode, key_frame, next_frame or decode."""

    kind: str
    request: FrameRequest | None = None


class StandInEngine:
    """Fulfils `artv_cli.engine.Engine` without a network.

    Its masks are those of an engine that copies more with every evaluation: k/8 everywhere.
    `calls` logs what it was asked for. `salt` stands for a machine that makes other bits;
    `broken_after` is the number of drawn frames after which all values are NaN.
    """

    def __init__(
        self,
        *,
        fingerprint: str = MODEL.fingerprint,
        environment: Mapping[str, str] = ENVIRONMENT,
        salt: str = "",
        broken_after: int | None = None,
    ) -> None:
        self.fingerprint = fingerprint
        self.environment = environment
        self.calls: list[Call] = []
        self._salt = salt
        self._broken_after = broken_after

    @property
    def drawn(self) -> list[Call]:
        """The calls that a real engine would spend its time on."""
        return [call for call in self.calls if call.kind in ("key_frame", "next_frame")]

    def encode(self, pixels: Pixels) -> Latents:
        self.calls.append(Call("encode"))
        height, width, _ = pixels.shape
        return self._latents((width, height), "encode", pixels.tobytes())

    def key_frame(self, request: FrameRequest) -> Latents:
        self.calls.append(Call("key_frame", request))
        # References and anchor are blank: how strongly they pull changes nothing.
        guidance = replace(request.sampling.guidance, reference=0.0, anchor=0.0)
        return self._latents(request.size, "key", _heard(request, guidance))

    def next_frame(
        self,
        request: FrameRequest,
        references: tuple[Latents, Latents],
        anchor: Latents,
        watch: Watch | None = None,
    ) -> Latents:
        self.calls.append(Call("next_frame", request))
        for step in range(request.sampling.steps if watch else 0):
            width, height = (side // 8 for side in request.size)
            watch(999 - 100 * step, np.full((height, width), step / 8, np.float32))
        before = b"".join(latents.data for latents in (*references, anchor))
        heard = _heard(request, request.sampling.guidance)
        return self._latents(request.size, "next", heard + before)

    def decode(self, latents: Latents) -> Pixels:
        self.calls.append(Call("decode"))
        values = np.frombuffer(latents.data, "<f4").reshape(latents.shape)
        picture = (values[:3].transpose(1, 2, 0) * 255).astype(np.uint8)
        return picture.repeat(8, axis=0).repeat(8, axis=1)

    def _latents(self, size: tuple[int, int], kind: str, content: bytes) -> Latents:
        shape = (4, size[1] // 8, size[0] // 8)
        seed = hashlib.sha256(f"{self._salt} {kind} ".encode() + content).digest()
        stream = hashlib.shake_256(seed).digest(shape[0] * shape[1] * shape[2])
        values = np.frombuffer(stream, np.uint8).astype("<f4") / 256
        if self._broken_after is not None and len(self.drawn) > self._broken_after:
            values = np.full_like(values, np.nan)
        return Latents("float32", shape, values.tobytes())


def _heard(request: FrameRequest, guidance: Guidance) -> bytes:
    """Return what an engine hears of a request: where nothing is guided, nothing is moderated."""
    if not (guidance.text or guidance.reference or guidance.anchor):
        guidance = replace(guidance, rescale=0.0, interval=(0, 999))
    guidance = replace(guidance, rescale=abs(guidance.rescale))  # there is but one zero
    return repr(replace(request, sampling=replace(request.sampling, guidance=guidance))).encode()


class KilledEngine(StandInEngine):
    """Is interrupted while it draws the frame after `frames` finished ones."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def next_frame(self, *given: Any) -> Any:
        if len(self.drawn) == self.frames:
            raise KeyboardInterrupt
        return super().next_frame(*given)
