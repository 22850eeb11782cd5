"""`benchmarks/trust.md`: one line for each run of a row, and what they come to together.

The file is its own memory: a run adds a line to those that are there, so that a long proof may be
made in pieces, by whoever has the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trust.proof import Row, Tally

PATH = Path(__file__).parents[1] / "trust.md"
_RUN = re.compile(
    r"\| (?P<row>[\w-]+) \| (?P<seed>\d+) \| (?P<held>[\d,]+) \| (?P<broken>[\d,]+) "
    r"\| (?P<seconds>[\d,.]+) \| (?P<is_all>yes|no) \| (?P<code>\S+) \|"
)


@dataclass(frozen=True)
class Run:
    """One run of a row: with which seed and code, what held and broke, and how long it took."""

    row: str
    seed: int
    held: int
    broken: int
    seconds: float
    is_all: bool
    code: str


def run_of(row: Row, seed: int, tally: Tally, code: str) -> Run:
    """Return the line that a finished run becomes."""
    broken = len(tally.broken)
    return Run(row.name, seed, tally.held, broken, tally.seconds, tally.is_all, code)


def read_runs(path: Path = PATH) -> list[Run]:
    """Return the runs that a report holds; none if there is none."""
    if not path.exists():
        return []
    return [
        Run(
            found["row"],
            int(found["seed"]),
            _number(found["held"]),
            _number(found["broken"]),
            float(found["seconds"].replace(",", "")),
            found["is_all"] == "yes",
            found["code"],
        )
        for found in _RUN.finditer(path.read_text())
    ]


def next_seed(row: Row, runs: Iterable[Run]) -> int:
    """Return a seed with which the row was not run yet."""
    return 1 + max((run.seed for run in runs if run.row == row.name), default=0)


def report(rows: Sequence[Row], runs: Sequence[Run]) -> str:
    """Return the report: each promise with its bar and all its proofs, then every run."""
    promises = "".join(_promise(row, [run for run in runs if run.row == row.name]) for row in rows)
    lines = "".join(
        f"| {run.row} | {run.seed} | {run.held:,} | {run.broken:,} | {run.seconds:,.1f} "
        f"| {'yes' if run.is_all else 'no'} | {run.code} |\n"
        for run in runs
    )
    return _TEXT.format(promises=promises, runs=lines)


def _promise(row: Row, runs: Sequence[Run]) -> str:
    held, broken = sum(run.held for run in runs), sum(run.broken for run in runs)
    seconds = sum(run.seconds for run in runs)
    is_full = held >= row.bar if row.bar else any(run.is_all for run in runs)
    verdict = (
        "**broken**" if broken else "held" if is_full else "held so far" if runs else "not run"
    )
    bar = f"{row.bar:,}" if row.bar else "every case"
    figures = f"{bar} | {held:,} | {broken:,} | {seconds:,.0f}"
    return f"| {row.name} | {row.promise} | {figures} | {verdict} |\n"


def _number(text: str) -> int:
    return int(text.replace(",", ""))


_TEXT = """\
# Promises and their proofs

Written by `python -m benchmarks.trust`; `--only ROW`, `--count N`, `--minutes M` and `--seed S` run
a part of it, which is added to what is here. Each proof draws what is random from the seed and its
number, so `--only ROW --seed S` does the same again. What a row does is told by the docstring of
its module in `benchmarks/trust/`.

| row | promise | bar | proofs | broken | seconds | verdict |
|---|---|--:|--:|--:|--:|---|
{promises}
## Runs

`all`: the row has no more cases. `code`: the commit, with `+` where artv had changed since.

| row | seed | proofs | broken | seconds | all | code |
|---|--:|--:|--:|--:|---|---|
{runs}"""
