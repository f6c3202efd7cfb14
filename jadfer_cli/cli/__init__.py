"""The command line: commands, options and output; nothing outside it imports typer or rich."""

from __future__ import annotations

import io
import os
import sys

# Iterations for which an idle thread of libgomp (PyTorch's) spins before it sleeps. The default,
# 300,000, takes the cores from everything else: two trainings side by side took up to 20 times as
# long. 30,000 is as fast on an idle machine (95 faces per second, two cores), and gives 41
# instead of 27 beside two busy processes.
_SPIN = "30000"


def main() -> None:
    """Entry point of the `jadfer` command."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN)  # PyTorch reads it when imported
    # Worker processes start with `python -c`, which would import the modules that lie in the
    # current folder, such as a pickle.py among somebody's data.
    os.environ["PYTHONSAFEPATH"] = "1"
    # A pipe on Windows has the encoding of the country, and a name with other letters is no error.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from jadfer_cli.cli.app import app
        from jadfer_cli.common import claim_process

        claim_process()

        app()
    except KeyboardInterrupt:  # before a command has started
        sys.exit(130)
