"""What a frame cost here before: the measure behind `artv plan`'s estimates of time and disk.

A small side file of the cache, `timings.json`. It holds clock readings, so nothing that decides
what is reused may read it; when it is missing or broken there is merely no estimate.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from artv_cli.errors import ArtvError
from artv_cli.files.output import write_text
from artv_cli.plan import FramePlan
from artv_cli.settings import Sampling


def effort(frame: FramePlan) -> int:
    """Return how much work it is to draw a frame: a sampler's evaluations times guidance branches.

    An image counts as nothing: encoding it is quick. A drawn key frame has neither references nor
    anchor, so their branches do not run; outside the interval of guidance, none but the full does.
    """
    if frame.request is None:
        return 0
    guidance = frame.request.sampling.guidance
    scales = [guidance.text]
    if frame.role == "next":
        scales += [guidance.reference, guidance.anchor]
    lowest, highest = guidance.interval
    timesteps = _timesteps(frame.request.sampling)
    guided = sum(lowest <= timestep <= highest for timestep in timesteps)
    return len(timesteps) + guided * sum(scale != 0 for scale in scales)


def _timesteps(sampling: Sampling) -> list[int]:
    """Return about where a sampler asks its network, as `Schedule` has it."""
    steps = sampling.steps
    timesteps = [999 * (steps - step) // steps for step in range(steps)]
    if sampling.sampler == "dpmpp_2s_ancestral":  # asks on the way to the next step as well
        timesteps += [(one + other) // 2 for one, other in pairwise(timesteps)]
    return timesteps


def record_timings(root: Path, drawn: Iterable[tuple[FramePlan, float, int]]) -> None:
    """Keep the seconds and bytes of newly drawn frames, as medians: seconds per unit of effort.

    A cache that cannot be written keeps none.
    """
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    sizes: defaultdict[str, list[float]] = defaultdict(list)
    for frame, taken, size in drawn:
        if frame.request is not None:
            seconds[_kind(frame.ingredients)].append(taken / effort(frame))
            sizes[_kind(frame.ingredients)].append(size)
    if seconds:
        measured = {
            kind: {
                "seconds": statistics.median(seconds[kind]),
                "bytes": statistics.mean(sizes[kind]),
            }
            for kind in seconds
        }
        with suppress(ArtvError):
            write_text(_file(root), json.dumps(_read(root) | measured, indent=1, sort_keys=True))


def expected_seconds(root: Path, frames: Iterable[FramePlan]) -> float | None:
    """Return how long it will take to draw `frames`, or None where nothing like them was timed."""
    known = _read(root)
    total = 0.0
    for frame in frames:
        if frame.request is not None:
            if _kind(frame.ingredients) not in known:
                return None
            total += known[_kind(frame.ingredients)]["seconds"] * effort(frame)
    return total


def expected_bytes(root: Path, frame: FramePlan) -> int | None:
    """Return the bytes that a frame like this one takes, or None where none was drawn here."""
    known = _read(root).get(_kind(frame.ingredients))
    return None if known is None else round(known["bytes"])


def _kind(made_of: Mapping[str, Any]) -> str:
    """Name what decides the cost of one sampling step."""
    size = "x".join(map(str, made_of["size"]))
    return f"{made_of['model'][:16]} {made_of['dtype']} {size} {made_of.get('sampler', 'image')}"


def _file(root: Path) -> Path:
    return root / "timings.json"


def _read(root: Path) -> dict[str, dict[str, float]]:
    try:
        known = json.loads(_file(root).read_bytes())
        return {
            str(kind): {name: float(measured[name]) for name in ("seconds", "bytes")}
            for kind, measured in known.items()
        }
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}
