"""The command line: the only place that imports typer and rich."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `jadfer` command."""
    try:
        from jadfer_cli.cli.app import app
        from jadfer_cli.common import claim_process

        claim_process()

        app()
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)
