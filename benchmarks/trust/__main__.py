"""Run the proofs and write `benchmarks/trust.md`: `python -m benchmarks.trust [--only ROW]`.

    python -m benchmarks.trust                            every row in full: hours
    python -m benchmarks.trust --scale 0.01               a hundredth of each, kept nowhere
    python -m benchmarks.trust --only kills --count 2000 --output benchmarks/trust.md
    python -m benchmarks.trust --only storyboards --minutes 20

Rows add up over runs; without --seed each run takes one that was not used. A seed that was run
before does the same again and is not counted. With --scale or --count the report is written only
where --output says so. Only files in memory are fast enough for the large counts: set
TMPDIR=/dev/shm. Exit code 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.trust import ledger
from benchmarks.trust.proof import Row, Tally, prove
from benchmarks.trust.rows import ROWS

PROVED = ("artv_cli", "benchmarks/trust")


def main() -> int:
    """Run the rows that were asked for, and keep what came out after each."""
    options = _options()
    rows = [row for row in ROWS if options.only in (None, row.name)]
    output = _output(options)
    runs, code = ledger.read_runs(output) if output else [], _code()
    is_broken = False
    for row in rows:
        seed = options.seed if options.seed is not None else ledger.next_seed(row, runs)
        tally = _proved(row, seed, options)
        is_broken = is_broken or bool(tally.broken)
        if ledger.is_known(row, seed, runs):
            print(f"{row.name}: seed {seed} was run before, so this is not counted again")
        elif output:
            runs = ledger.add(ledger.run_of(row, seed, tally, code), ROWS, output)
        print(f"{row.name}: {tally.held} held, {len(tally.broken)} broken, {tally.seconds:.1f} s")
        for broken in tally.broken:
            print(f"  {broken}")
    return int(is_broken)


def _output(options: argparse.Namespace) -> Path | None:
    """Return where the report is written: a small part by itself must not end in the real one."""
    if options.output is not None:
        return Path(options.output)
    return ledger.PATH if options.scale == 1 and options.count is None else None


def _proved(row: Row, seed: int, options: argparse.Namespace) -> Tally:
    count: int | None = max(1, round(row.bar * options.scale)) if row.bar else None
    if options.count is not None:
        count = options.count
    elif count is None and options.scale < 1:
        count = row.short
    with tempfile.TemporaryDirectory() as folder:
        seconds = options.minutes and 60 * options.minutes
        return prove(row, count=count, seed=seed, folder=Path(folder), seconds=seconds)


def _code() -> str:
    """Return which code is proved: the last commit of artv or a proof, and `+` for changes since.

    A commit of anything else, such as of the report, proves nothing anew.
    """
    commit = _git("log", "-1", "--format=%h", "--", *PROVED) or "unknown"
    return commit + "+" * bool(_git("status", "--porcelain", *PROVED))


def _git(*arguments: str) -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=root)
    return done.stdout.strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trust",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="ROW", choices=[row.name for row in ROWS])
    parser.add_argument("--scale", type=float, default=1.0, help="of each row's bar")
    parser.add_argument("--count", type=int, help="proofs of each row, instead of its bar")
    parser.add_argument("--minutes", type=float, help="stop each row after so long")
    parser.add_argument("--seed", type=int, help="what is random; by default one not used yet")
    parser.add_argument("--output", type=Path, help="the report, benchmarks/trust.md in full")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
