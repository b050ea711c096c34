"""Run the command line as ``python -m cli``."""

from cli.app import main

main()
