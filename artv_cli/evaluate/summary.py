"""From records to figures: each with what it must reach, how sure it is, and on how many stories.

A figure "at frame n" is that of the 16 frames which end there, but for the background: that of the
last frame against the first. After a switch, character and scene are the same if the judge names
them as it did in the 16 frames before: whether they were what was asked for is told by the stories
from text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from artv_cli.evaluate.figures import drift, wilson
from artv_cli.evaluate.records import Record
from artv_cli.evaluate.stories import Kind
from artv_cli.evaluate.truth import Names, Part


@dataclass(frozen=True)
class Bar:
    """What a figure must reach: at least, at most, or both."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"≥ {self.low:g}" if self.low is not None else f"≤ {self.high:g}"

    def is_met(self, value: float) -> bool:
        """Tell whether a value reaches the bar."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Figure:
    """One measured value, None where no story tells it, with a 95 % interval where it is a share.

    Shares are in percent, drift in points of them, `background` and `reconstruction` in dB;
    sharpness and motion are ratios to ground truth.
    """

    name: str
    unit: str
    bar: Bar
    value: float | None
    count: int
    interval: tuple[float, float] | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is reached; None where nothing was measured."""
        return None if self.value is None else self.bar.is_met(self.value)


def summarize(records: Sequence[Record], frames_long: int) -> list[Figure]:
    """Return every figure of a model, in the order of the table of bars."""
    kept: Mapping[Kind, list[Record]] = {
        kind: [record for record in records if record.kind == kind]
        for kind in ("text", "switch", "image", "long")
    }
    text, switch, image, long = (kept[kind] for kind in ("text", "switch", "image", "long"))
    short = text + image
    moved = text + switch + image
    end = f"frame {frames_long}"
    return [
        _share("text alone: character", text, "character", 90),
        _share("text alone: scene", text, "scene", 95),
        _share("text alone: motion", text, "motion", 85),
        _share("after a switch: new motion", switch, "motion", 80),
        _share("after a switch: same character", switch, "character", 90, _before),
        _share("after a switch: same scene", switch, "scene", 95, _before),
        _share("from an image: character", image, "character", 95),
        _share("from an image: scene", image, "scene", 95),
        _mean("background at frame 16", short, lambda r: r.background, Bar(low=30)),
        _mean(f"background at {end}", long, lambda r: r.background, Bar(low=28)),
        _drift(f"drift: character, {end} against 16", long),
        _ratio(f"sharpness at {end}", long, lambda r: r.sharpness, Bar(0.8, 1.2)),
        _ratio("motion magnitude", moved, lambda r: r.motion, Bar(0.7, 1.3)),
        _mean("autoencoder's reconstruction", image, lambda r: r.reconstruction, Bar(low=33)),
    ]


def mean_masks(records: Iterable[Record]) -> dict[int, float]:
    """Return the mean mask at each timestep, noisiest first, over the records that have one."""
    heard: dict[int, list[float]] = {}
    for record in records:
        for timestep, mask in record.masks.items():
            heard.setdefault(int(timestep), []).append(mask)
    return {step: sum(heard[step]) / len(heard[step]) for step in sorted(heard, reverse=True)}


def tally(records: Iterable[Record], part: Part) -> dict[str, tuple[int, int]]:
    """Return of each name that was asked for how often it was seen, and how often asked for.

    Long stories ask for many motions, so they do not count.
    """
    counts: dict[str, list[bool]] = {}
    for record in records:
        if record.kind != "long":
            name = getattr(record.told, part)
            counts.setdefault(name, []).append(getattr(record.seen, part) == name)
    told = {name: (sum(right), len(right)) for name, right in counts.items()}
    return dict(sorted(told.items(), key=lambda item: (-item[1][0] / item[1][1], item[0])))


def _asked(record: Record) -> Names:
    return record.told


def _before(record: Record) -> Names:
    return record.early or record.told


def _share(
    name: str,
    records: Sequence[Record],
    part: Part,
    least: float,
    expected: Callable[[Record], Names] = _asked,
) -> Figure:
    right = sum(getattr(r.seen, part) == getattr(expected(r), part) for r in records)
    if not records:
        return Figure(name, "%", Bar(low=least), None, 0)
    low, high = wilson(right, len(records))
    share = 100 * right / len(records)
    return Figure(name, "%", Bar(low=least), share, len(records), (100 * low, 100 * high))


def _mean(
    name: str, records: Sequence[Record], of: Callable[[Record], float | None], bar: Bar
) -> Figure:
    values = [value for value in map(of, records) if value is not None]
    return Figure(name, "dB", bar, sum(values) / len(values) if values else None, len(values))


def _ratio(
    name: str, records: Sequence[Record], of: Callable[[Record], tuple[float, float]], bar: Bar
) -> Figure:
    """Compare sums, so that a story in which nothing moves divides by nothing."""
    pairs = list(map(of, records))
    generated, truth = (sum(pair[side] for pair in pairs) for side in (0, 1))
    return Figure(name, "×", bar, generated / truth if truth else None, len(pairs))


def _drift(name: str, records: Sequence[Record]) -> Figure:
    early = [r.early is not None and r.early.character == r.told.character for r in records]
    late = [r.seen.character == r.told.character for r in records]
    value = drift(early, late) if records else None
    return Figure(name, "points", Bar(high=5), value, len(records))
