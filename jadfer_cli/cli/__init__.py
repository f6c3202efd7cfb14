"""The command line: the only place that imports typer and rich."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `jadfer` command."""
    try:
        from jadfer_cli.cli.app import app

        app()
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)
