"""`python -m artv_cli` is `artv`."""

from artv_cli.console_script import main

main()
