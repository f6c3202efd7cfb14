"""What `annotate`, `evaluate` and `train` share: options that say where the network runs."""

from __future__ import annotations

from typing import Annotated

import typer

from jadfer_cli.options import BATCH_CPU, BATCH_GPU, DEVICES

MACHINE_PANEL = "Network and machine"

DeviceOption = Annotated[str, typer.Option(help=f"{DEVICES}.", rich_help_panel=MACHINE_PANEL)]
ThreadsOption = Annotated[
    int | None,
    typer.Option(help="CPU threads; all cores by default.", rich_help_panel=MACHINE_PANEL),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        help="Faces scored at once.",
        show_default=f"{BATCH_CPU} on a CPU, {BATCH_GPU} on a GPU",
        rich_help_panel=MACHINE_PANEL,
    ),
]
