"""Promises and their proofs: `python -m benchmarks.trust` runs them, tests run a few of each."""

import sys
from pathlib import Path

# The stand-in engine and the tiny model are the tests' own: nothing exists twice.
sys.path.append(str(Path(__file__).parents[2] / "tests"))
