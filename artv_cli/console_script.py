"""Where the command `artv` begins: somebody listens for Ctrl-C before anything is loaded."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Load the command line and run it; stopped meanwhile, end without a word."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from artv_cli import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)  # as `cli.EXIT_CODES` has it, which may not be there yet
