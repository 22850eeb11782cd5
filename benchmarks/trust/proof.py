"""What a row of the table is made of: checks, each of which proves a promise or names what broke.

A row yields checks without end, or all that there are. A check gets a fresh folder, draws what is
random from its seed and its number alone, and raises where the promise does not hold. So a row can
be run in pieces, and what broke once can be run again.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

MAX_BROKEN = 20  # a promise that is broken so often needs no further proof

Check = Callable[[Path], "Mapping[str, int] | int | None"]
"""Given a fresh folder, returns how many proofs it stands for, None meaning one.

Where they are of several kinds, such as kills in several places, it returns how many of each.
"""


@dataclass(frozen=True)
class Row:
    """A promise and how it is proved: `bar` proofs in full, 0 for every case there is.

    `short` is how many the tests ask for. `checks` is given a seed and a folder to set up in.
    """

    name: str
    promise: str
    bar: int
    short: int
    checks: Callable[[int, Path], Iterator[Check]]


@dataclass(frozen=True)
class Tally:
    """What became of a row: proofs that held, what broke, time in seconds, whether it was all.

    `kinds` says how many proofs were of which kind, where a row has several.
    """

    held: int
    broken: tuple[str, ...]
    seconds: float
    is_all: bool
    kinds: Mapping[str, int] = field(default_factory=Counter)


def expect(holds: object, what: str) -> None:
    """Raise AssertionError, saying `what`, unless it `holds`."""
    if not holds:
        raise AssertionError(what)


def randoms(seed: int) -> Iterator[Random]:
    """Yield one generator for each check, which depends on the seed and its number alone."""
    for number in itertools.count():
        yield Random(f"{seed} {number}")


def prove(
    row: Row, *, count: int | None, seed: int, folder: Path, seconds: float | None = None
) -> Tally:
    """Run a row until `count` proofs are there (None: all), or `seconds` are over."""
    started = time.perf_counter()
    held, is_all = 0, False
    broken: list[str] = []
    kinds: Counter[str] = Counter()
    setup = folder / "setup"
    setup.mkdir(parents=True)
    checks = row.checks(seed, setup)
    for number in itertools.count():
        is_over = seconds is not None and time.perf_counter() - started > seconds
        if is_over or len(broken) == MAX_BROKEN or (count is not None and held >= count):
            break
        check = next(checks, None)
        if check is None:
            is_all = True
            break
        place = folder / str(number)
        place.mkdir()
        try:
            proofs = check(place)
            if proofs is None:
                proofs = 1
            if isinstance(proofs, Mapping):
                kinds.update(proofs)
                proofs = sum(proofs.values())
            held += proofs
        except Exception as error:
            broken.append(f"seed {seed}, check {number}: {type(error).__name__}: {error}")
        shutil.rmtree(place, ignore_errors=True)
    return Tally(held, tuple(broken), time.perf_counter() - started, is_all, kinds)
