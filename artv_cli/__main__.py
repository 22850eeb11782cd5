"""`python -m artv_cli` is `artv`."""

from artv_cli.cli import main

main()
