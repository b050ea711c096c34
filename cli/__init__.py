"""The ``icanvas`` command: one module a subcommand, which calls a flow or a package."""

from cli.app import app, main

__all__ = ["app", "main"]
