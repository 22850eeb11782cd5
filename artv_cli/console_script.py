"""Where the command `artv` begins: somebody listens for Ctrl-C before anything is loaded."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Load the command line and run it; stopped meanwhile, end without a word."""
    # Left alone, threads that wait for each other spin; where anything else runs, they spin on the
    # processor that the last of them waits for, and a frame takes several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from artv_cli import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)  # as `cli.EXIT_CODES` has it, which may not be there yet
