"""The command line: the only place that imports typer and rich."""

from __future__ import annotations

import os
import sys

# How long a thread of PyTorch's (libgomp's) waits awake for the next piece of work, in turns of
# a loop. Its own 300,000 take the cores from whatever else runs: a training beside another one
# took up to 20 times as long. Measured with 30,000: as fast on an idle machine (95 faces a
# second, two cores), and 41 instead of 27 beside two busy processes.
_SPIN = "30000"


def main() -> None:
    """Entry point of the `jadfer` command."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN)  # read when PyTorch is loaded
    try:
        from jadfer_cli.cli.app import app
        from jadfer_cli.common import claim_process

        claim_process()

        app()
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)
