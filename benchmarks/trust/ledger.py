"""`benchmarks/trust.md`: one line for each run of a row, and what they come to together.

The file is its own memory: a run adds a line to those that are there, so that a long proof may be
made in pieces, by whoever has the time.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artv_cli.files.durable import commit
from benchmarks.trust.proof import Row, Tally

PATH = Path(__file__).parents[1] / "trust.md"
_RUN = re.compile(
    r"\| (?P<row>[\w-]+) \| (?P<seed>\d+) \| (?P<held>[\d,]+) \| (?P<broken>[\d,]+) "
    r"\| (?P<seconds>[\d,.]+) \| (?P<is_all>yes|no) \| (?P<code>\S+) \| (?P<kinds>[^|]*) \|"
)
_KIND = re.compile(r"([\d,]*\d) ([^,|]+)")


@dataclass(frozen=True)
class Run:
    """One run of a row: with which seed and code, what held and broke, and how long it took.

    `kinds` says how many proofs were of which kind, where a row has several.
    """

    row: str
    seed: int
    held: int
    broken: int
    seconds: float
    is_all: bool
    code: str
    kinds: Mapping[str, int] = field(default_factory=dict)


def run_of(row: Row, seed: int, tally: Tally, code: str) -> Run:
    """Return the line that a finished run becomes."""
    broken = len(tally.broken)
    kinds = dict(sorted(tally.kinds.items()))
    return Run(row.name, seed, tally.held, broken, tally.seconds, tally.is_all, code, kinds)


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
            {kind: _number(number) for number, kind in _KIND.findall(found["kinds"])},
        )
        for found in _RUN.finditer(path.read_text())
    ]


def add(run: Run, rows: Sequence[Row], path: Path) -> list[Run]:
    """Add a run to a report, and return all that it holds then: other processes may add as well."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        runs = [*read_runs(path), run]
        commit(path, report(rows, runs).encode())
    finally:
        os.close(folder)
    return runs


def next_seed(row: Row, runs: Iterable[Run]) -> int:
    """Return a seed with which the row was not run yet."""
    return 1 + max((run.seed for run in runs if run.row == row.name), default=0)


def report(rows: Sequence[Row], runs: Sequence[Run]) -> str:
    """Return the report: each promise with its bar and all its proofs, then every run."""
    promises = "".join(_promise(row, [run for run in runs if run.row == row.name]) for row in rows)
    lines = "".join(
        f"| {run.row} | {run.seed} | {run.held:,} | {run.broken:,} | {run.seconds:,.1f} "
        f"| {'yes' if run.is_all else 'no'} | {run.code} | {_told(run.kinds)} |\n"
        for run in runs
    )
    return _TEXT.format(promises=promises, runs=lines)


def is_known(row: Row, seed: int, runs: Iterable[Run]) -> bool:
    """Tell whether a row was run with this seed before: its proofs would be the same again."""
    return any((run.row, run.seed) == (row.name, seed) for run in runs)


def _counted(row: Row, runs: Sequence[Run]) -> list[Run]:
    """Return the runs that count: the longest of each seed, and of a row without a bar the longest.

    Such a row has the same cases with every seed, only in another order.
    """
    longest: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.held):
        longest[run.seed if row.bar else 0] = run
    return list(longest.values())


def _promise(row: Row, runs: Sequence[Run]) -> str:
    counted = _counted(row, runs)
    held, broken = sum(run.held for run in counted), sum(run.broken for run in runs)
    seconds = sum(run.seconds for run in runs)
    if not held and not broken:
        verdict = "**not tried**: this machine has no case of it" if runs else "not run"
    else:
        verdict = "**broken**" if broken else _held(row, runs)
    bar = f"{row.bar:,}" if row.bar else "every case"
    figures = f"{bar} | {held:,} | {broken:,} | {seconds:,.0f}"
    codes = ", ".join(dict.fromkeys(run.code for run in counted))
    kinds: Counter[str] = Counter()
    for run in counted:
        kinds.update(run.kinds)
    return f"| {row.name} | {row.promise} | {figures} | {verdict} | {codes} | {_told(kinds)} |\n"


def _held(row: Row, runs: Sequence[Run]) -> str:
    """Say how far a promise is held: what other code has proved vouches for no newer one."""
    newest = [run for run in runs if run.code == runs[-1].code]
    if _is_full(row, newest):
        return "held"
    return "held by older code" if _is_full(row, runs) else "held so far"


def _is_full(row: Row, runs: Sequence[Run]) -> bool:
    if not row.bar:
        return any(run.is_all for run in runs)
    return sum(run.held for run in _counted(row, runs)) >= row.bar


def _told(kinds: Mapping[str, int]) -> str:
    """Say how many there are of each kind."""
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))


def _number(text: str) -> int:
    return int(text.replace(",", ""))


_TEXT = """\
# Promises and their proofs

Written by `python -m benchmarks.trust`; `--only ROW`, `--count N`, `--minutes M` and `--seed S` run
a part of it, which is added to what is here. Each proof draws what is random from the seed and its
number, so `--only ROW --seed S` does the same again, which is not counted twice. What a row does is
told by the docstring of its module in `benchmarks/trust/`. `code`: the commits that were proved,
each with `+` where artv or its proofs had changed since; a promise is held by older code where the
newest by itself has not proved as much. `of them`: how many proofs were of which kind.

| row | promise | bar | proofs | broken | seconds | verdict | code | of them |
|---|---|--:|--:|--:|--:|---|---|---|
{promises}
## Runs

`all`: the row has no more cases.

| row | seed | proofs | broken | seconds | all | code | of them |
|---|--:|--:|--:|--:|---|---|---|
{runs}"""
