"""The ``icanvas`` command: each subcommand is a few lines that call a flow or a package."""

from cli.app import app, main

__all__ = ["app", "main"]
