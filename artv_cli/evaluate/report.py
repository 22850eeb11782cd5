"""An evaluation as a page of Markdown: bars and values, what was measured with what, ablations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artv_cli.errors import UsageError
from artv_cli.evaluate.summary import Figure
from artv_cli.files.output import storage_errors

STANDING = {True: "met", False: "**missed**", None: "not measured"}


@dataclass(frozen=True)
class Variant:
    """Figures and mean masks (by timestep, noisiest first) under one set of inference settings."""

    name: str
    figures: Sequence[Figure]
    masks: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """An evaluation: `variants` begin with the model as it is; `facts` say how it was measured.

    `tallies` tell of each name that was asked for, by what it names, how often it was seen and how
    often asked for.
    """

    title: str
    variants: Sequence[Variant]
    facts: Mapping[str, str]
    tallies: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)

    @property
    def missed(self) -> list[Figure]:
        """The figures of the model as it is whose bars are missed."""
        return [figure for figure in self.variants[0].figures if figure.is_met is False]

    def to_markdown(self) -> str:
        """Return the page."""
        return "\n".join(self._lines()) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain data."""
        return {
            "facts": dict(self.facts),
            "tallies": {what: dict(tally) for what, tally in self.tallies.items()},
            "variants": {
                variant.name: {
                    "figures": [_plain(figure) for figure in variant.figures],
                    "masks": {str(step): mask for step, mask in variant.masks.items()},
                }
                for variant in self.variants
            },
        }

    def _lines(self) -> Iterator[str]:
        yield f"# {self.title}"
        yield ""
        missed, silent = len(self.missed), sum(f.is_met is None for f in self.variants[0].figures)
        verdict = f"{missed or 'No'} {'bar is' if missed == 1 else 'bars are'} missed"
        yield verdict + (f", {silent} not measured." if silent else ".")
        yield ""
        rows = [(f.name, str(f.bar), *told(f), str(f.count)) for f in self.variants[0].figures]
        yield from _table(("figure", "bar", "measured", "95 %", "", "stories"), rows)
        yield ""
        yield "A figure at frame n is that of the 16 frames which end there, but for the"
        yield "background: that of the last frame against the first. After a switch, the same"
        yield "means: named by the judge as in the 16 frames before. Long stories are anchored"
        yield "at their first frame."
        yield ""
        yield from _table(("measured with", ""), list(self.facts.items()))
        if len(self.variants) > 1:
            yield from self._ablation()
        for what, tally in self.tallies.items():
            yield from ("", f"## Which {what}s are seen where they are asked for", "")
            yield from ("Of all stories but the long ones.", "")
            names = [(name, str(seen), str(asked)) for name, (seen, asked) in tally.items()]
            yield from _table((what, "seen", "asked for"), names)
        if any(variant.masks for variant in self.variants):
            yield from self._masks()

    def _ablation(self) -> Iterator[str]:
        yield from ("", "## The same under other settings", "")
        rows = [
            (figure.name, str(figure.count), *(_value(v.figures[index]) for v in self.variants))
            for index, figure in enumerate(self.variants[0].figures)
        ]
        yield from _table(("figure", "stories", *(v.name for v in self.variants)), rows)

    def _masks(self) -> Iterator[str]:
        yield from ("", "## Mean mask at each sampling step (1 copies the frame before)", "")
        for variant in self.variants:
            if variant.masks:
                rows = [(str(step), f"{mask:.3f}") for step, mask in variant.masks.items()]
                yield from _table((f"timestep, {variant.name}", "mean mask"), rows)
                yield ""


def title(model: str) -> str:
    """Return what the page of a model's evaluation is called."""
    return f"The {model} model, judged"


def check_page(path: Path) -> None:
    """Raise where the page would replace what is none, by its first line: ask before judging.

    UsageError; StorageError for what cannot be looked at.
    """
    with storage_errors(path):
        if not path.exists() or (path.is_file() and _is_page(path)):
            return
    raise UsageError(
        f"--out {path} is there already, and it is no page of an evaluation.",
        "Name another file, as in storybook.md, or move that one away.",
    )


def _is_page(path: Path) -> bool:
    with open(path, "rb") as file:
        first = file.readline(1000).decode("utf-8", "replace")
    return re.fullmatch(f"# {title('.+')}", first.rstrip()) is not None


def told(figure: Figure) -> tuple[str, str, str]:
    """Return a figure's value, its interval and its standing, as people read them."""
    interval = ""
    if figure.interval is not None:
        interval = f"{figure.interval[0]:.1f} to {figure.interval[1]:.1f}"
    return _value(figure), interval, STANDING[figure.is_met]


def _value(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    text = f"{figure.value:.2f}" if figure.unit == "×" else f"{figure.value:.1f}"
    return f"{text} {figure.unit}"


def _plain(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "bar": str(figure.bar),
        "value": figure.value,
        "interval": None if figure.interval is None else list(figure.interval),
        "stories": figure.count,
        "met": figure.is_met,
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def sampling_text(sampling: Mapping[str, Any]) -> str:
    """Return inference settings in one line."""
    return json.dumps(sampling, sort_keys=True).replace('"', "")
