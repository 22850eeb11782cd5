"""How long a frame took here before: the measure behind `artv plan`'s estimate of time.

A small side file of the cache, `timings.json`. It holds clock readings, so nothing that decides
what is reused may read it; when it is missing or broken there is merely no estimate.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from artv_cli.errors import ArtvError
from artv_cli.files.output import write_text
from artv_cli.plan import FramePlan


def record_timings(root: Path, drawn: Iterable[tuple[FramePlan, float]]) -> None:
    """Keep the seconds that newly drawn frames took, as a median per sampling step.

    A cache that cannot be written keeps none.
    """
    measured: defaultdict[str, list[float]] = defaultdict(list)
    for frame, seconds in drawn:
        if frame.request is not None:
            measured[_kind(frame)].append(seconds / frame.request.sampling.steps)
    if measured:
        known = _read(root) | {kind: statistics.median(all_) for kind, all_ in measured.items()}
        with suppress(ArtvError):
            write_text(_file(root), json.dumps(known, indent=1, sort_keys=True))


def expected_seconds(root: Path, frames: Iterable[FramePlan]) -> float | None:
    """Return how long it will take to draw `frames`, or None where nothing like them was timed.

    An image counts as nothing: encoding it is quick.
    """
    known = _read(root)
    total = 0.0
    for frame in frames:
        if frame.request is not None:
            if _kind(frame) not in known:
                return None
            total += known[_kind(frame)] * frame.request.sampling.steps
    return total


def _kind(frame: FramePlan) -> str:
    """Name what decides the cost of one sampling step."""
    made_of = frame.ingredients
    size = "x".join(map(str, made_of["size"]))
    return f"{made_of['model'][:16]} {made_of['dtype']} {size} {made_of['sampler']}"


def _file(root: Path) -> Path:
    return root / "timings.json"


def _read(root: Path) -> dict[str, float]:
    try:
        known = json.loads(_file(root).read_bytes())
        return {str(kind): float(seconds) for kind, seconds in known.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
