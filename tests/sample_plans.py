"""Segments to make stories of, and their plans for the stand-in model."""

from __future__ import annotations

from typing import Any

from standin import MODEL, story

from artv_cli.plan import RenderPlan, make_plan

IMAGES = {"cat.png": "c" * 64, "copy.png": "c" * 64, "dog.png": "d" * 64}
WALK = {"prompt": "a cat walks", "frames": 4}
JUMP = {"prompt": "the cat jumps", "frames": 3}
ROCKET = {"prompt": "a rocket flies", "frames": 5, "start": "cut"}


def plan(*segments: dict[str, Any], model: Any = MODEL, over: Any = None, under: Any = None,
         **film: Any) -> RenderPlan:  # fmt: skip
    return make_plan(story(*segments, **film), model, IMAGES, over=over, under=under)


def frame_keys(*segments: dict[str, Any], **rest: Any) -> list[str]:
    return [frame.key for frame in plan(*segments, **rest).frames]
